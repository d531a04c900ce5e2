"""ES256 signers and HTTPS hosts of public keys: the base of the fakes of the load balancer (`alb`) and of IAP (`iap`).

It shares no code with the proxy's verification.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, Self, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from local.fake_sagemaker.tls import Authority

from .fake_upstreams import FakeUpstream, ReceivedRequest, UpstreamConnection

Sign = Callable[[bytes], bytes]


def es256(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """An ES256 signature: r and s of 32 bytes each (RFC 7518, 3.4)."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def compact_jws(header: Any, claims: Any, sign: Sign, *, padded: bool) -> str:
    """A JWS in compact serialization (RFC 7515, 7.1). Parts given as bytes are used unchanged."""

    def encode(part: Any) -> str:
        data = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode()
        return base64url(data, padded=padded)

    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(sign(signed.encode()))}"


def base64url(data: bytes, *, padded: bool = False) -> str:
    """Base64 with the URL-safe alphabet, by default without padding."""
    text = base64.urlsafe_b64encode(data).decode()
    return text if padded else text.rstrip("=")


def without_field(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The fields except the one with this name."""
    return {key: value for key, value in fields.items() if key != name}


class Es256Signer:
    """`keys` are the published keys by id; the key `key_id` signs."""

    def __init__(self, new_key_id: Callable[[], str]) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self._new_key_id = new_key_id
        self.key_id = self.publish()

    def publish(self) -> str:
        """Publish another key, which does not sign yet; returns its id."""
        key_id = self._new_key_id()
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())
        return key_id

    def rotate(self) -> str:
        """Publish a new key and sign with it; the earlier keys stay published."""
        self.key_id = self.publish()
        return self.key_id

    def sign(self, data: bytes) -> bytes:
        """The ES256 signature of `data` by the current key."""
        return es256(self.keys[self.key_id], data)


Signer = TypeVar("Signer", bound=Es256Signer)


class PublicKeyHost(Generic[Signer]):
    """An HTTPS host of public keys, which serves GET requests without credentials only.

    `paths` are the requested paths, `wrong` the heads of unexpected requests. `down`: it accepts connections and closes
    them. `fault` is sent in place of the response; responses wait until `open` is set.
    """

    url_path = ""
    served_paths = ""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.url = ""
        self.paths: list[str] = []
        self.wrong: list[bytes] = []
        self.down = False
        self.fault: bytes | None = None
        self.open = asyncio.Event()
        self.open.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, signer: Signer, authority: Authority) -> AsyncGenerator[Self]:
        """Serve the signer's keys on a free loopback port."""
        host = cls(signer)
        async with FakeUpstream.running(host._serve, tls=authority.server_context()) as fake_upstream:
            host.url = fake_upstream.origin + cls.url_path
            yield host

    def response(self, path: str, received: ReceivedRequest) -> bytes:
        """The response with the key or keys at this path."""
        raise NotImplementedError

    async def _serve(self, connection: UpstreamConnection) -> None:
        while not self.down:
            received = await connection.read_request()
            found = re.fullmatch(rf"GET ({self.served_paths}) HTTP/1\.1", received.line)
            secret = any(re.fullmatch("authorization|cookie|x-(amzn|goog)-.*", name) for name, _ in received.headers)
            if found is None or secret or received.body:
                self.wrong.append(received.head)
                return
            self.paths.append(found[1])
            await self.open.wait()
            if not self.down:
                await connection.send(self.fault or self.response(found[1], received))
