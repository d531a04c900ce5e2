"""Where the document of hashed tokens is kept: a file, or a Secrets Manager secret."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

EMPTY = '{"tokens": []}\n'


class StoreError(Exception):
    """The document cannot be read or written; the message says where and why."""


class TokenStore(Protocol):
    """Holds one document. All methods block; they raise StoreError."""

    @property
    def name(self) -> str: ...

    def read(self) -> str: ...

    def change(self, edit: Callable[[str], str]) -> None:
        """Replace the document by ``edit(document)``; nobody ever reads a half of it."""
        ...


class FileStore:
    """A file, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return str(self._path)

    def read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise StoreError(
                f"There is no file {self._path}. `python -m proxy_app token new --file {self._path} ...` makes it."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"The file {self._path} cannot be read: {error}.") from error

    def change(self, edit: Callable[[str], str]) -> None:
        folder = self._path.parent
        if not folder.is_dir():
            # Not made here: a mistyped path would hold tokens that no proxy reads.
            raise StoreError(f"There is no folder {folder}: make it first, or name a file in another.")
        try:
            with _locked(self._path.with_name(f".{self._path.name}.lock")):
                document = edit(self.read() if self._path.exists() else EMPTY)
                self._replace(document)
        except OSError as error:
            raise StoreError(f"The file {self._path} cannot be written: {error}.") from error

    def _replace(self, document: str) -> None:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class SecretStore:
    """A Secrets Manager secret. It knows no compare-and-swap: change it from one place at a time."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._client: Any = None

    @property
    def name(self) -> str:
        return f"the secret {self._secret}"

    def _secrets_manager(self) -> Any:
        if self._client is None:
            # An ARN says its region; a bare name leaves it to the AWS chain.
            parts = self._secret.split(":")
            region = parts[3] if len(parts) > 6 else None
            self._client = botocore.session.Session().create_client("secretsmanager", region_name=region)
        return self._client

    def read(self) -> str:
        try:
            answer = self._secrets_manager().get_secret_value(SecretId=self._secret)
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"The secret {self._secret} cannot be read: {error}.") from error
        text = answer.get("SecretString")
        if text is None:
            raise StoreError(f"The secret {self._secret} holds bytes where a JSON text belongs.")
        return text

    def change(self, edit: Callable[[str], str]) -> None:
        try:
            document = edit(self._read_or_empty())
            self._secrets_manager().put_secret_value(SecretId=self._secret, SecretString=document)
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"The secret {self._secret} cannot be written: {error}.") from error
        if self.read() != document:
            raise StoreError(f"The secret {self._secret} was changed by somebody else meanwhile: try again.")

    def _read_or_empty(self) -> str:
        """A secret just made has no value yet; one that does not exist is an error."""
        client = self._secrets_manager()
        described = client.describe_secret(SecretId=self._secret)
        return self.read() if described.get("VersionIdsToStages") else EMPTY


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    try:
        import fcntl
    except ImportError:  # no such lock on Windows: one change at a time is up to the user there
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
