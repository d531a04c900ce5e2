"""A fake of Identity-Aware Proxy (IAP) as its backend sees it, and of the host that publishes IAP's public keys.

Written from Google's documentation,
https://cloud.google.com/iap/docs/signed-headers-howto (header, claims, 10 minutes, 30 seconds of clock skew, the URL of
the keys) and https://cloud.google.com/iap/docs/identity-howto (the other headers and their prefix), and compared with
published assertions: github.com/selkies-project/selkies-examples (external-auth/policies/iap-google-domain.rego; the
order of fields, no padding, 600 seconds, `hd`) and one of a service account with `azp` and `identity_source`. The key
host behaves as an IAP engineer describes it on Stack Overflow (44897043): `max-age=3000` with an `Age`, gzip if the
client accepts it, and no announced rotation schedule. It shares no code with the proxy's verification.
"""

import asyncio
import base64
import contextlib
import gzip
import json
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from local.fake_sagemaker.tls import Authority

from .alb import Sign, es256
from .fake_upstreams import FakeUpstream, UpstreamConnection, response_with_length

AUDIENCE = "/projects/123456789012/apps/mlflow-project"
ISSUER = "https://cloud.google.com/iap"
PATH = "/iap/verify/public_key-jwk"

ANN = {"email": "ann@example.org", "hd": "example.org", "sub": "accounts.google.com:101112131415161718191"}
BOB = {"email": "bob@example.org", "hd": "example.org", "sub": "accounts.google.com:201112131415161718191"}
ROOT = {
    "email": "root@elsewhere.example",
    "hd": "elsewhere.example",
    "sub": "accounts.google.com:301112131415161718191",
}
JOB = {"email": "train@ml-jobs.iam.gserviceaccount.com", "sub": "accounts.google.com:401112131415161718191"}


class Iap:
    """Issues signed assertions. `keys` are the published keys by id; the key `key_id` signs."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.key_id = self.publish()

    def publish(self) -> str:
        """Publish another key, which does not sign yet; returns its id."""
        key_id = _base64url(secrets.token_bytes(4))
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())
        return key_id

    def rotate(self) -> str:
        """Publish a new key and sign with it; the earlier keys stay published."""
        self.key_id = self.publish()
        return self.key_id

    def assertion(
        self,
        claims: Mapping[str, Any] = ANN,
        *,
        lifetime: float = 600,
        header: Mapping[str, Any] | None = None,
        without: str = "",
        sign: Sign | None = None,
        **changes: Any,
    ) -> str:
        """The value of `x-goog-iap-jwt-assertion`.

        `changes` replace claims; `without` names a header field or claim to leave out.
        """
        now = int(self.clock())
        top = {"alg": "ES256", "typ": "JWT", "kid": self.key_id, **(header or {})}
        usual = {"aud": AUDIENCE, "azp": AUDIENCE, "exp": int(now + lifetime), "iat": now, "identity_source": "GOOGLE"}
        said = {**usual, "iss": ISSUER, **claims, **changes}
        return compact(_without(top, without), dict(sorted(_without(said, without).items())), sign or self.sign)

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature of `data` by the current key."""
        return es256(self.keys[self.key_id], data)

    def jwks(self) -> bytes:
        """The published keys as a JSON Web Key Set."""
        return json.dumps({"keys": [jwk(key_id, key) for key_id, key in self.keys.items()]}, indent=1).encode()


def _without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def jwk(key_id: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The key as a JSON Web Key (RFC 7518, 6.2.1) with the fields that IAP publishes."""
    numbers = key.public_key().public_numbers()
    size = (key.curve.key_size + 7) // 8
    x, y = (_base64url(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"alg": "ES256", "crv": "P-256", "kid": key_id, "kty": "EC", "use": "sig", "x": x, "y": y}


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """A JWS in compact serialization (RFC 7515, 7.1). Parts given as bytes are used unchanged."""
    data = ".".join(_base64url(value if isinstance(value, bytes) else _json(value)) for value in (header, claims))
    return f"{data}.{_base64url(sign(data.encode()))}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class KeyHost:
    """A fake of `https://www.gstatic.com/iap/verify/public_key-jwk`, which serves GET only.

    `asked` counts the requests, `wrong` holds the heads of unexpected ones. `down`: it accepts connections and closes
    them. `fault` is sent in place of the keys; responses wait until `open` is set. `caching` are the caching headers.
    """

    def __init__(self, iap: Iap) -> None:
        self._iap = iap
        self.url = ""
        self.requests = 0
        self.wrong: list[bytes] = []
        self.down = False
        self.fault: bytes | None = None
        self.caching = [b"Cache-Control: public, max-age=3000", b"Age: 0"]
        self.open = asyncio.Event()
        self.open.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, iap: Iap, authority: Authority) -> AsyncGenerator["KeyHost"]:
        """Serve the keys of `iap` over HTTPS on a free loopback port."""
        host = cls(iap)
        async with FakeUpstream.running(host._answer, tls=authority.server_context()) as fake_upstream:
            host.url = fake_upstream.origin + PATH
            yield host

    async def _answer(self, connection: UpstreamConnection) -> None:
        while not self.down:
            received = await connection.read_request()
            names = {name for name, _ in received.headers}
            secret = [name for name in names if name in {"authorization", "cookie"} or name.startswith("x-goog-")]
            if received.line != f"GET {PATH} HTTP/1.1" or secret or received.body:
                self.wrong.append(received.head)
                return
            self.requests += 1
            await self.open.wait()
            if not self.down:
                packed = re.search(r"\bgzip\b", received.header("accept-encoding") or "") is not None
                await connection.send(self.fault or self.file(packed=packed))

    def file(self, *, packed: bool) -> bytes:
        """The whole response with the keys; `packed`: with gzip."""
        content = gzip.compress(self._iap.jwks()) if packed else self._iap.jwks()
        encoding = [b"Content-Encoding: gzip"] if packed else []
        return response_with_length(
            content, b"Content-Type: text/html", b"Vary: Accept-Encoding", *self.caching, *encoding
        )


RULES = (
    "email:root@elsewhere.example=admin, email:ann@example.org=editor, domain:example.org=viewer, "
    "email:train@ml-jobs.iam.gserviceaccount.com=editor"
)


def settings(host: KeyHost, authority: Authority, **changes: Any) -> dict[str, Any]:
    """Settings of a proxy behind this IAP."""
    values = {
        "tokens_file": None,
        "iap_audience": AUDIENCE,
        "iap_keys_url": host.url,
        "ca_bundle": authority.ca_file,
        "role_rules": RULES,
    }
    return {**values, **changes}
