"""A fake of an Application Load Balancer (ALB) that authenticates users, and of the host of its public keys.

Written from AWS's documentation,
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html, and compared with
a value published with AWS's own library (github.com/awslabs/aws-jwt-verify/issues/109): its fields, the padding of each
part, `iss` and `exp` among the claims, Cognito's `email_verified` as a string.
"""

import functools
import time
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization

from local.fake_sagemaker.tls import Authority

from .fake_upstreams import ReceivedRequest, response_with_length
from .key_host import Es256Signer, PublicKeyHost, Sign, compact_jws, without_field

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

# Each part is padded, unlike in a JWS of the standard.
compact = functools.partial(compact_jws, padded=True)


class Alb(Es256Signer):
    """Issues the assertions that a load balancer adds to requests of authenticated users."""

    def __init__(self) -> None:
        super().__init__(lambda: str(uuid.uuid4()))

    def assertion(
        self,
        claims: Mapping[str, Any] = ANN,
        *,
        lifetime: float = 120,
        header: Mapping[str, Any] | None = None,
        without: str = "",
        sign: Sign | None = None,
    ) -> str:
        """The value of `x-amzn-oidc-data`. `header` replaces fields of the JWT's header; `without` removes one."""
        expiry = int(time.time() + lifetime)
        fields = {
            "typ": "JWT",
            "kid": self.key_id,
            "alg": "ES256",
            "iss": ISSUER,
            "client": CLIENT,
            "signer": ARN,
            "exp": expiry,
        }
        # The load balancer sets exp and iss, and overrides those of the identity provider.
        payload = {**claims, "exp": expiry, "iss": ISSUER}
        return compact(without_field({**fields, **(header or {})}, without), payload, sign or self.sign)

    def pem(self, key_id: str) -> bytes:
        """The public key with this id, in PEM."""
        return public_pem(self.keys[key_id])


def public_pem(key: Any) -> bytes:
    """The public key of a private key, in PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class KeyHost(PublicKeyHost[Alb]):
    """A fake of `https://public-keys.auth.elb.{region}.amazonaws.com/{key id}`.

    `missing` is the status for an unknown key id.
    """

    served_paths = "/[A-Za-z0-9_-]+"
    missing = b"403 Forbidden"

    @property
    def requests(self) -> list[str]:
        """The requested key ids."""
        return [path.removeprefix("/") for path in self.paths]

    def response(self, path: str, received: ReceivedRequest) -> bytes:
        key_id = path.removeprefix("/")
        if key_id not in self.signer.keys:
            return response_with_length(b"<Error><Code>AccessDenied</Code></Error>", status=self.missing)
        return response_with_length(self.signer.pem(key_id), b"Content-Type: binary/octet-stream")


def settings(host: KeyHost, authority: Authority, **changes: Any) -> dict[str, Any]:
    """Settings of a proxy behind this load balancer."""
    values = {
        "alb_arn": ARN,
        "alb_issuer": ISSUER,
        "alb_client_id": CLIENT,
        "alb_keys_url": host.url,
        "ca_bundle": authority.ca_file,
        "role_rules": "group:ml-admins=admin, email:ann@example.org=editor, domain:example.org=viewer",
    }
    return {**values, **changes}
