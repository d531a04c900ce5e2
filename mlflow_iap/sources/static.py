"""Tokens that another program fetches: in a variable or in a file."""

import dataclasses
import os
from pathlib import Path

from ..errors import TokenError


@dataclasses.dataclass(frozen=True)
class TokenVariable:
    """The token in an environment variable."""

    name: str = "MLFLOW_IAP_TOKEN"

    def __str__(self) -> str:
        return f"the variable {self.name}"

    def fetch(self) -> str:
        """The current value, which a notebook may have changed. Raises TokenError."""
        if text := os.environ.get(self.name, "").strip():
            return text
        raise TokenError(f"{self.name} is no longer set.")


@dataclasses.dataclass(frozen=True)
class TokenFile:
    """The token in a file that another program rewrites."""

    path: Path

    def __str__(self) -> str:
        return f"the file {self.path} (MLFLOW_IAP_TOKEN_FILE)"

    def fetch(self) -> str:
        """The file's current content. Raises TokenError."""
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            # The program that writes it may be about to.
            raise TokenError(f"No token in {self}: {error}", transient=True) from error
        if not text:
            raise TokenError(f"No token in {self}: it is empty.", transient=True)
        return text
