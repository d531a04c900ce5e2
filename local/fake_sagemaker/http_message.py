"""Requests as received, the record of them for tests, and the canonical form of their URLs."""

import dataclasses
import hashlib
from functools import cached_property
from urllib.parse import quote, unquote_to_bytes

from multidict import CIMultiDictProxy

from local.fake_sagemaker.errors import SIGNATURE_MISMATCH, AwsError

_UNRESERVED = "-_.~"
_DOTS = (b".", b"..")


@dataclasses.dataclass(frozen=True)
class ReceivedRequest:
    """A request with its complete body; `target` is the request target as sent, including the query."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @cached_property
    def path(self) -> str:
        """The path as sent."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> str:
        """The query as sent, without the question mark; may be empty."""
        return self.target.partition("?")[2]

    @cached_property
    def body_hash(self) -> str:
        """The body's SHA-256, in hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()

    def header(self, name: str) -> str:
        """The value of a header that must occur once; AwsError when it is missing or repeated."""
        values = self.headers.getall(name, [])
        if len(values) == 1:
            return values[0]
        if values:
            raise AwsError("InvalidSignatureException", f"The header {name} was sent {len(values)} times.")
        raise AwsError("IncompleteSignatureException", f"The header {name} is missing.")


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request to MLflow's endpoint and the status of the response; 0: the connection was reset."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    status: int


def canonical_path(path: str) -> str:
    """The path with each segment encoded once; an encoded slash stays encoded.

    AwsError for empty and dot segments (signed in one form and interpreted in another: awslabs/aws-sigv4-proxy#67),
    and for a path that is not sent in canonical form: botocore encodes the path as sent, the specification decodes it
    first, and it is unknown which of the two SageMaker does.
    """
    segments = [unquote_to_bytes(segment) for segment in path.split("/")]
    if not path.startswith("/") or any(segment in _DOTS for segment in segments) or b"" in segments[1:-1]:
        raise AwsError("InvalidSignatureException", SIGNATURE_MISMATCH, detail=f"empty or dot segments in {path!r}")
    canonical = "/".join(quote(segment, safe=_UNRESERVED) for segment in segments)
    if canonical != path:
        raise AwsError(
            "InvalidSignatureException", SIGNATURE_MISMATCH, detail=f"path {path!r} not sent as {canonical!r}"
        )
    return canonical


def canonical_query(query: str) -> str:
    """The query decoded (a plus is a space), encoded by RFC 3986, and sorted by encoded name, then value."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{key}={value}" for key, value in sorted((_encoded(k), _encoded(v)) for k, _, v in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe=_UNRESERVED)
