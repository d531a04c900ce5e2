"""The storage of the document of hashed tokens: a file, or a Secrets Manager secret."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

EMPTY = '{"tokens": []}\n'


class StoreError(Exception):
    """The document cannot be read or written; the message names the place and the reason."""


def _errors() -> tuple[type[Exception], ...]:
    # botocore takes a third of a second to import: a proxy with a file of tokens does without it.
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


class TokenStore(Protocol):
    """Stores one document. All methods block and raise StoreError."""

    @property
    def name(self) -> str:
        """The place of the document, for messages."""
        ...

    def read(self) -> str:
        """The document as text."""
        ...

    def update(self, edit: Callable[[str], str]) -> None:
        """Replace the document by ``edit(document)``; readers get the old or the new one."""
        ...


class FileStore:
    """A file with mode 0600, replaced atomically; a lock file serializes changes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The path."""
        return str(self._path)

    def read(self) -> str:
        """The text of the file. StoreError if it does not exist or cannot be read."""
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise StoreError(
                f"The file {self._path} does not exist. "
                f"`python -m proxy_app token new --file {self._path} ...` creates it."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"The file {self._path} cannot be read: {error}.") from error

    def update(self, edit: Callable[[str], str]) -> None:
        """Replace the file under the lock; it is created if it does not exist, its directory is not."""
        folder = self._path.parent
        if not folder.is_dir():
            # Not created here: a mistyped path would hold tokens that no proxy reads.
            raise StoreError(f"The directory {folder} does not exist: create it, or choose another file.")
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
    """A Secrets Manager secret, by name or ARN.

    It has no conditional writes: concurrent changes are detected at best.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._client: Any = None

    @property
    def name(self) -> str:
        """The name or ARN of the secret."""
        return f"the secret {self._secret}"

    def _secrets_manager(self) -> Any:
        if self._client is None:
            import botocore.session
            from botocore.config import Config

            # An ARN contains its region; for a name, the AWS configuration applies.
            parts = self._secret.split(":")
            region = parts[3] if len(parts) > 6 else None
            self._client = botocore.session.Session().create_client(
                "secretsmanager", region_name=region, config=Config(connect_timeout=5, read_timeout=10)
            )
        return self._client

    def read(self) -> str:
        """The secret's current text. StoreError if it cannot be read, or is binary."""
        try:
            response = self._secrets_manager().get_secret_value(SecretId=self._secret)
        except _errors() as error:
            raise StoreError(f"The secret {self._secret} cannot be read: {error}.") from error
        text = response.get("SecretString")
        if text is None:
            raise StoreError(f"The secret {self._secret} is binary; expected a JSON text.")
        return text

    def update(self, edit: Callable[[str], str]) -> None:
        """Write a new version. StoreError if it fails, or if the secret was changed at the same time."""
        try:
            document = edit(self._read_or_empty())
            self._secrets_manager().put_secret_value(SecretId=self._secret, SecretString=document)
        except _errors() as error:
            raise StoreError(f"The secret {self._secret} cannot be written: {error}.") from error
        if self.read() != document:
            raise StoreError(f"The secret {self._secret} was changed at the same time: try again.")

    def _read_or_empty(self) -> str:
        """The text, or an empty document for a secret without a version. A missing secret is an error."""
        client = self._secrets_manager()
        described = client.describe_secret(SecretId=self._secret)
        return self.read() if described.get("VersionIdsToStages") else EMPTY


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    try:
        import fcntl
    except ImportError:  # on Windows, where changes are not serialized
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
