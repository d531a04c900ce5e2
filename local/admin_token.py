"""The admin token named `local`: created by the proxy's token command, stored in plain text for the next start."""

import subprocess
import sys
from pathlib import Path

from local.processes import ROOT, ChildError, child_environ

_NAME = "local"
_DAYS = 365


class AdminToken:
    """The token in plain text (`local-token`, readable by its owner only) and the proxy's file of hashes (`tokens`)."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.tokens = data / "tokens.json"
        self._plain = data / "local-token"
        self._scratch = scratch

    def get(self) -> str:
        """The token of the last start, or a new one. ChildError when none can be created."""
        if self.tokens.exists() and self._plain.exists() and (token := self._plain.read_text().strip()):
            return token
        return self.renew()

    def renew(self) -> str:
        """Revoke the current token, if there is one, and create a new one. ChildError when that fails."""
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
        completed = subprocess.run(
            [sys.executable, "-m", "proxy_app", "token", *arguments, "--file", str(self.tokens)],
            cwd=ROOT,
            env=child_environ(self._scratch, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            # Ctrl-C in the terminal must not interrupt this short command.
            start_new_session=True,
        )
        if check and completed.returncode != 0:
            raise ChildError(f"Cannot create a token:\n{completed.stderr.strip()}")
        return completed.stdout
