"""The token named `local`, made by the proxy's own command and kept in plain text for the next start."""

import subprocess
import sys
from pathlib import Path

from local.processes import ROOT, ChildError, child_environ

_NAME = "local"
_DAYS = 365


class AdminToken:
    """`tokens` is the proxy's file of hashes, `plain` the file that only its owner can read."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.tokens = data / "tokens.json"
        self._plain = data / "local-token"
        self._scratch = scratch

    def get(self) -> str:
        """The token of the last start, or a new one. ChildError when none can be made."""
        if self.tokens.exists() and self._plain.exists() and (token := self._plain.read_text().strip()):
            return token
        return self.renew()

    def renew(self) -> str:
        """A new token in place of the one there may be."""
        self.tokens.parent.mkdir(parents=True, exist_ok=True)
        if self.tokens.exists():
            self._command("revoke", _NAME, check=False)
        token = self._command("new", "--name", _NAME, "--role", "admin", "--days", str(_DAYS)).strip()
        new = self._plain.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(token + "\n")
        new.replace(self._plain)
        return token

    def _command(self, *arguments: str, check: bool = True) -> str:
        answer = subprocess.run(
            [sys.executable, "-m", "proxy_app", "token", *arguments, "--file", str(self.tokens)],
            cwd=ROOT,
            env=child_environ(self._scratch, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            # A Ctrl-C in the terminal is for us; this is done in a moment.
            start_new_session=True,
        )
        if check and answer.returncode != 0:
            raise ChildError(f"No token could be made:\n{answer.stderr.strip()}")
        return answer.stdout
