"""Commands and files of the machine that runs Pulumi."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import Unchecked

# No command may take longer; the state in a distant backend is the slowest.
_SECONDS = 25


class Output(NamedTuple):
    """The exit status and output of a command."""

    status: int
    stdout: str
    stderr: str


class Machine:
    """Runs commands without a shell or standard input, in the folder of the program."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """``environment``: default is that of this process."""
        self.folder = folder
        self.environment = dict(os.environ if environment is None else environment)
        self.home = Path(self.environment.get("HOME", "~")).expanduser()
        self.system = platform.system()

    def run(self, command: Sequence[str]) -> Output:
        """Run a command. Raises FileNotFoundError if there is no such program, Unchecked after the time limit."""
        if self.which(command[0]) is None:
            raise FileNotFoundError(command[0])
        try:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unchecked(f"`{' '.join(command[:3])}` did not end within {_SECONDS} s") from None
        return Output(done.returncode, done.stdout, done.stderr)

    def which(self, program: str) -> str | None:
        """Return the path of a program; None if it is not on PATH."""
        return shutil.which(program, path=self.environment.get("PATH"))

    def free_bytes(self, path: Path) -> int:
        """Return the free space of the file system of a path."""
        return shutil.disk_usage(path).free
