"""An Application Load Balancer that signs people in, and the key host of its region.

Written from AWS's documentation,
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html, and held against
a real value that was published with AWS's own library (github.com/awslabs/aws-jwt-verify/issues/109): its fields, the
padding of each part, r and s of 32 bytes each, `iss` and `exp` among the claims, Cognito's `email_verified` as a text.
It shares no code with what the proxy verifies by.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from local.fake_sagemaker.tls import Authority

from .fake_upstreams import FakeUpstream, UpstreamConnection, response_with_length

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mlflow/50dc6c495c0c9188"
ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE01"
CLIENT = "1example2client3id4abcdefg"
ANN: dict[str, Any] = {
    "sub": "11112222-3333-4444-5555-666677778888",
    "email_verified": "true",
    "name": "Ann +/=-_ Ünal",
    "email": "ann@example.org",
    "username": "11112222-3333-4444-5555-666677778888",
}

Sign = Callable[[bytes], bytes]


class Alb:
    """Signs in whom it is told. `keys` are those that its host gives out, by id; it signs by `key_id`."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.key_id = ""
        self.rotate()

    def rotate(self) -> str:
        """Sign by a new key from now on; the host has the earlier ones still."""
        self.key_id = str(uuid.uuid4())
        self.keys[self.key_id] = ec.generate_private_key(ec.SECP256R1())
        return self.key_id

    def assertion(
        self,
        claims: Mapping[str, Any] = ANN,
        *,
        lifetime: float = 120,
        header: Mapping[str, Any] | None = None,
        without: str = "",
        sign: Sign | None = None,
    ) -> str:
        """The value of `x-amzn-oidc-data`; `header` and `without` change what stands in the JWT's header."""
        end = int(time.time() + lifetime)
        usual = {
            "typ": "JWT",
            "kid": self.key_id,
            "alg": "ES256",
            "iss": ISSUER,
            "client": CLIENT,
            "signer": ARN,
            "exp": end,
        }
        values = {name: value for name, value in {**usual, **(header or {})}.items() if name != without}
        # What the provider says of these does not count: the load balancer sets them.
        return compact(values, {**claims, "exp": end, "iss": ISSUER}, sign or self.sign)

    def sign(self, data: bytes) -> bytes:
        return es256(self.keys[self.key_id], data)

    def pem(self, key_id: str) -> bytes:
        return public_pem(self.keys[key_id])


def public_pem(key: Any) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def es256(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """RFC 7518, 3.4."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def compact(header: Any, claims: Any, sign: Sign) -> str:
    """Three parts, padded as a load balancer pads them. Bytes go in as they are."""
    data = b".".join(_part(value) for value in (header, claims))
    return (data + b"." + base64.urlsafe_b64encode(sign(data))).decode()


def _part(value: Any) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(text)


class KeyHost:
    """`https://public-keys.auth.elb.{region}.amazonaws.com/{key id}`: GET and nothing else.

    `asked` are the ids. What it answers instead is `fault`; it waits while `open` is not set.
    """

    def __init__(self, alb: Alb) -> None:
        self._alb = alb
        self.url = ""
        self.requests: list[str] = []
        self.wrong: list[bytes] = []
        self.missing = b"403 Forbidden"
        self.fault: bytes | None = None
        self.open = asyncio.Event()
        self.open.set()

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, alb: Alb, authority: Authority) -> AsyncGenerator["KeyHost"]:
        host = cls(alb)
        async with FakeUpstream.running(host._answer, tls=authority.server_context()) as fake_upstream:
            host.url = fake_upstream.origin
            yield host

    async def _answer(self, connection: UpstreamConnection) -> None:
        while True:
            received = await connection.read_request()
            found = re.fullmatch(r"GET /([A-Za-z0-9_-]+) HTTP/1\.1", received.line)
            secret = {"authorization", "cookie", "x-amzn-oidc-data"} & {name for name, _ in received.headers}
            if found is None or secret or received.body:
                self.wrong.append(received.head)
                return
            self.requests.append(found[1])
            await self.open.wait()
            await connection.send(self.fault or self._key(found[1]))

    def _key(self, key_id: str) -> bytes:
        if key_id not in self._alb.keys:
            return response_with_length(b"<Error><Code>AccessDenied</Code></Error>", status=self.missing)
        return response_with_length(self._alb.pem(key_id), b"Content-Type: binary/octet-stream")


def settings(host: KeyHost, authority: Authority, **changes: Any) -> dict[str, Any]:
    """What a proxy is told that stands behind this load balancer."""
    values = {
        "alb_arn": ARN,
        "alb_issuer": ISSUER,
        "alb_client_id": CLIENT,
        "alb_keys_url": host.url,
        "ca_bundle": authority.ca_file,
        "role_rules": "group:ml-admins=admin, email:ann@example.org=editor, domain:example.org=viewer",
    }
    return {**values, **changes}
