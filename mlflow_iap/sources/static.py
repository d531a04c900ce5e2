"""A ready token, from a variable or from a file."""

import dataclasses
import os
from pathlib import Path

from ..errors import TokenError


@dataclasses.dataclass(frozen=True)
class Variable:
    name: str = "MLFLOW_IAP_TOKEN"

    def __str__(self) -> str:
        return f"the variable {self.name}"

    def fetch(self) -> str:
        """Its value now: a notebook may have set another."""
        if text := os.environ.get(self.name, "").strip():
            return text
        raise TokenError(f"{self.name} is not set any more.")


@dataclasses.dataclass(frozen=True)
class File:
    path: Path

    def __str__(self) -> str:
        return f"the file {self.path} (MLFLOW_IAP_TOKEN_FILE)"

    def fetch(self) -> str:
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            # Whoever writes it may be about to.
            raise TokenError(f"No token in {self}: {error}", transient=True) from error
        if not text:
            raise TokenError(f"No token in {self}: it is empty.", transient=True)
        return text
