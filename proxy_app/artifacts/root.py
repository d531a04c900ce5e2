"""The artifact root, and its mapping between the locations that MLflow stores and those that clients see."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_SCHEME = "s3://"
_CLIENT = "mlflow-artifacts:/"
# MLflow's clients resolve it as they do `mlflow-artifacts:/`: no host, and the path `/`.
_CLIENT_ROOT_WITH_SLASH = "mlflow-artifacts:///"
_SEPARATOR = re.compile(r"[/\\]")


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """The part of a bucket that clients reach through the proxy.

    ``prefix`` has no slash at its start or end; it is empty for the whole bucket.
    """

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The root of ``s3://bucket/prefix``. Raises ValueError with the expected form."""
        bucket, _, prefix = text.removeprefix(_SCHEME).partition("/")
        prefix = prefix.removesuffix("/")
        safe = not prefix or ("" not in prefix.split("/") and prefix.isprintable() and not _has_dots(prefix))
        if not (text.startswith(_SCHEME) and _BUCKET.fullmatch(bucket) and safe and not set(prefix) & set("?#\\'\"")):
            raise ValueError("s3://bucket or s3://bucket/prefix, such as s3://team-artifacts/mlflow")
        return cls(bucket, prefix)

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``, without a slash at its end."""
        return f"{_SCHEME}{self.bucket}/{self.prefix}" if self.prefix else _SCHEME + self.bucket

    def path(self, location: str) -> str | None:
        """The path below the root of a location in S3, empty for the root itself; None for a location outside of it.

        A path with a ``.`` or ``..`` segment, also a percent-encoded one, or that starts with a slash, is outside.
        """
        rest = location.removeprefix(self.uri)
        if rest == location or not (rest == "" or rest.startswith("/")):
            return None
        return rest[1:] if _is_inside(rest[1:]) else None

    def to_client(self, location: str) -> str:
        """``mlflow-artifacts:/x`` for ``s3://bucket/prefix/x``; any other string unchanged.

        The root itself is ``mlflow-artifacts:/``, and with a slash at its end ``mlflow-artifacts:///``.
        """
        if location == self.uri + "/":
            return _CLIENT_ROOT_WITH_SLASH
        path = self.path(location)
        return location if path is None else _CLIENT + path

    def to_storage(self, location: str) -> str:
        """The inverse of ``to_client``; a string that ``to_client`` never returns for a location in S3 is unchanged."""
        if location == _CLIENT_ROOT_WITH_SLASH:
            return self.uri + "/"
        path = location.removeprefix(_CLIENT)
        if path == location or not _is_inside(path):
            return location
        return f"{self.uri}/{path}" if path else self.uri


def _is_inside(path: str) -> bool:
    # `mlflow-artifacts://x` would name the host x.
    return not path.startswith("/") and not _has_dots(path)


def _has_dots(path: str) -> bool:
    """Whether a segment is ``.`` or ``..``, after any number of percent-decodings; MLflow decodes more than once."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return any(segment in (".", "..") for segment in _SEPARATOR.split(path))
