"""A request as it came over the wire, and the canonical form of its URL."""

import dataclasses
import hashlib
from functools import cached_property
from urllib.parse import quote, unquote_to_bytes

from multidict import CIMultiDictProxy

from local.fake_sagemaker.refusals import MISMATCH, Refusal

_UNRESERVED = "-_.~"
_DOTS = (b".", b"..")


@dataclasses.dataclass(frozen=True)
class Received:
    """`target` is the request target as sent, query included; the body is whole."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @cached_property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @cached_property
    def body_hash(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def header(self, name: str) -> str:
        """The value of a header that must come once; Refusal when it is missing or repeated."""
        values = self.headers.getall(name, [])
        if len(values) == 1:
            return values[0]
        if values:
            raise Refusal("InvalidSignatureException", f"The header {name} was sent {len(values)} times.")
        raise Refusal("IncompleteSignatureException", f"The header {name} is missing.")


def canonical_path(path: str) -> str:
    """The path, encoded once, every segment by itself; an encoded slash stays one.

    Refusal for empty and dot segments (awslabs/aws-sigv4-proxy#67: signed one way, read another), and for a path
    that is not sent in just this form: botocore quotes what is on the wire, the specification decodes it first,
    and which of the two SageMaker does is not known.
    """
    segments = [unquote_to_bytes(segment) for segment in path.split("/")]
    if not path.startswith("/") or any(segment in _DOTS for segment in segments) or b"" in segments[1:-1]:
        raise Refusal("InvalidSignatureException", MISMATCH, detail=f"empty or dot segments in {path!r}")
    canonical = "/".join(quote(segment, safe=_UNRESERVED) for segment in segments)
    if canonical != path:
        raise Refusal("InvalidSignatureException", MISMATCH, detail=f"path {path!r} not sent as {canonical!r}")
    return canonical


def canonical_query(query: str) -> str:
    """Decoded (a plus is a space), encoded by RFC 3986, sorted by encoded name, then value."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{key}={value}" for key, value in sorted((_encoded(k), _encoded(v)) for k, _, v in pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe=_UNRESERVED)
