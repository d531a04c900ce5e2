"""AWS Signature Version 4 as pure functions: the URL and bytes that are signed are exactly those that are sent.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

EMPTY_SHA256 = sha256().hexdigest()
_UNRESERVED = "-_.~"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9\-_.~/]*")
_PLAIN_PAIR = re.compile(r"[A-Za-z0-9\-_.~]+=[A-Za-z0-9\-_.~]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """AWS keys. ``token`` is the session token, empty for long-term keys."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def canonical_path(raw_path: str) -> str:
    """The normal form of a path: each segment decoded, then encoded by RFC 3986. ``%2F`` stays encoded.

    The router has rejected empty, ``.`` and ``..`` segments, which servers read differently.
    """
    if _PLAIN_PATH.fullmatch(raw_path):
        return raw_path
    return "/".join(quote(unquote_to_bytes(segment), safe=_UNRESERVED) for segment in raw_path.split("/"))


def encoded_query(raw_query: str) -> str:
    """The query as it is sent: each pair decoded (``+`` is a space) and encoded by RFC 3986, in the original order.

    Empty pairs are dropped. The order is part of the meaning: servers read repeated parameters such as ``order_by`` in
    the order in which they appear.
    """
    if not raw_query or _PLAIN_PAIR.fullmatch(raw_query):
        return raw_query
    return "&".join([_encoded_pair(pair) for pair in raw_query.split("&") if pair])


def _encoded_pair(pair: str) -> str:
    name, _, value = pair.replace("+", " ").partition("=")
    return f"{quote(unquote_to_bytes(name), safe=_UNRESERVED)}={quote(unquote_to_bytes(value), safe=_UNRESERVED)}"


def canonical_query(query: str) -> str:
    """An encoded query as it is signed: sorted by name, then by value. Only the signature uses this order."""
    if "&" not in query:
        return query
    return "&".join(["=".join(pair) for pair in sorted([pair.partition("=")[::2] for pair in query.split("&")])])


def canonical_request(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    payload_sha256: str,
    *,
    double_encode_path: bool = True,
) -> tuple[str, str]:
    """(canonical request, signed header names).

    ``path`` and ``query`` are as sent, from ``canonical_path`` and ``encoded_query``; ``headers`` are (lower-case name,
    value), sorted by name. ``double_encode_path``: the path is encoded once more, which every service but S3 expects.
    """
    signed = ";".join([name for name, _ in headers])
    lines = "".join([_canonical_line(name, value) for name, value in headers])
    plain = not double_encode_path or _PLAIN_PATH.fullmatch(path)
    uri = path if plain else quote(path, safe="/" + _UNRESERVED)
    return f"{method}\n{uri}\n{canonical_query(query)}\n{lines}\n{signed}\n{payload_sha256}", signed


# Host, target and session token are the same in every request.
@lru_cache(maxsize=64)
def _canonical_line(name: str, value: str) -> str:
    return f"{name}:{' '.join(value.split())}\n"


def authorization(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    payload_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    amz_date: str,
    double_encode_path: bool = True,
) -> str:
    """The value of ``Authorization``. Arguments as for ``canonical_request``; ``amz_date`` as from ``amz_time``."""
    scope, signed, signature = _signature(
        method,
        path,
        query,
        headers,
        payload_sha256,
        credentials=credentials,
        region=region,
        service=service,
        amz_date=amz_date,
        double_encode_path=double_encode_path,
    )
    return (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )


def _signature(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    payload_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    amz_date: str,
    double_encode_path: bool,
) -> tuple[str, str, str]:
    """(credential scope, signed header names, signature)."""
    request, signed = canonical_request(
        method, path, query, headers, payload_sha256, double_encode_path=double_encode_path
    )
    scope, key = _scope_and_key(credentials.secret_key, amz_date[:8], region, service)
    # Header bytes that are not UTF-8 are surrogates here, and are signed as they are sent.
    hashed = sha256(request.encode("utf-8", "surrogateescape")).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{amz_date}\n{scope}\n{hashed}"
    keyed = key.copy()
    keyed.update(to_sign.encode())
    return scope, signed, keyed.hexdigest()


def signed_headers(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    payload_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    now: float,
    double_encode_path: bool = True,
) -> list[tuple[str, str]]:
    """The headers that sign a request, to be sent beside ``headers``.

    ``headers`` are (lower-case name, value) of what is signed: host, content type, the target's ARN.
    ``payload_sha256`` is the body's hash in hex; ``now`` is seconds since the epoch; ``double_encode_path`` is False
    for S3.
    """
    amz_date = amz_time(int(now))
    added = [("x-amz-content-sha256", payload_sha256), ("x-amz-date", amz_date)]
    if credentials.token:
        added.append(("x-amz-security-token", credentials.token))
    value = authorization(
        method,
        path,
        query,
        sorted([*headers, *added]),
        payload_sha256,
        credentials=credentials,
        region=region,
        service=service,
        amz_date=amz_date,
        double_encode_path=double_encode_path,
    )
    return [*added, ("authorization", value)]


def presigned_query(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    *,
    credentials: Credentials,
    region: str,
    service: str,
    now: float,
    seconds: int,
) -> str:
    """The query of a URL that is signed for ``seconds``: ``query`` and the signature's own parameters.

    Arguments as for ``signed_headers``; the body is not signed, the path is encoded once (S3).
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    amz_date = amz_time(int(now))
    scope, _ = _scope_and_key(credentials.secret_key, amz_date[:8], region, service)
    headers = sorted(headers)
    added = [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", amz_date),
        ("X-Amz-Expires", str(seconds)),
        ("X-Amz-SignedHeaders", ";".join([name for name, _ in headers])),
    ]
    if credentials.token:
        added.append(("X-Amz-Security-Token", credentials.token))
    pairs = [f"{name}={quote(value, safe=_UNRESERVED)}" for name, value in added]
    whole = "&".join([query, *pairs] if query else pairs)
    signature = _signature(
        method,
        path,
        whole,
        headers,
        "UNSIGNED-PAYLOAD",
        credentials=credentials,
        region=region,
        service=service,
        amz_date=amz_date,
        double_encode_path=False,
    )[2]
    return f"{whole}&X-Amz-Signature={signature}"


@lru_cache(maxsize=2)
def amz_time(now: int) -> str:
    """Seconds since the epoch in the form 20150830T123600Z."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


@lru_cache(maxsize=4)
def _scope_and_key(secret_key: str, date: str, region: str, service: str) -> tuple[str, hmac.HMAC]:
    """(credential scope of a day, keyed HMAC); the HMAC is copied for each use, which costs less than a new one."""
    parts = (date, region, service, "aws4_request")
    key = f"AWS4{secret_key}".encode()
    for part in parts:
        key = hmac.digest(key, part.encode(), "sha256")
    return "/".join(parts), hmac.new(key, digestmod="sha256")
