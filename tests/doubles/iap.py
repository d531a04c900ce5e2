"""A fake of Identity-Aware Proxy (IAP) as its backend sees it, and of the host that publishes IAP's public keys.

Written from Google's documentation,
https://cloud.google.com/iap/docs/signed-headers-howto (header, claims, 10 minutes, 30 seconds of clock skew, the URL of
the keys) and https://cloud.google.com/iap/docs/identity-howto (the other headers and their prefix), and compared with
published assertions: github.com/selkies-project/selkies-examples (external-auth/policies/iap-google-domain.rego; the
order of fields, no padding, 600 seconds, `hd`) and one of a service account with `azp` and `identity_source`. The key
host behaves as an IAP engineer describes it on Stack Overflow (44897043): `max-age=3000` with an `Age`, gzip if the
client accepts it, and no announced rotation schedule.
"""

import functools
import gzip
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from local.fake_sagemaker.tls import Authority

from .fake_upstreams import ReceivedRequest, response_with_length
from .key_host import Es256Signer, PublicKeyHost, Sign, base64url, compact_jws, without_field

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


compact = functools.partial(compact_jws, padded=False)


class Iap(Es256Signer):
    """Issues the assertions that IAP adds to requests."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(lambda: base64url(secrets.token_bytes(4)))
        self.clock = clock

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
        fields = {"alg": "ES256", "typ": "JWT", "kid": self.key_id, **(header or {})}
        usual = {"aud": AUDIENCE, "azp": AUDIENCE, "exp": int(now + lifetime), "iat": now, "identity_source": "GOOGLE"}
        payload = without_field({**usual, "iss": ISSUER, **claims, **changes}, without)
        return compact(without_field(fields, without), dict(sorted(payload.items())), sign or self.sign)

    def jwks(self) -> bytes:
        """The published keys as a JSON Web Key Set."""
        return json.dumps({"keys": [jwk(key_id, key) for key_id, key in self.keys.items()]}, indent=1).encode()


def jwk(key_id: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """The public key as a JSON Web Key (RFC 7518, 6.2.1) with the fields that IAP publishes."""
    numbers = key.public_key().public_numbers()
    size = (key.curve.key_size + 7) // 8
    x, y = (base64url(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"alg": "ES256", "crv": "P-256", "kid": key_id, "kty": "EC", "use": "sig", "x": x, "y": y}


class KeyHost(PublicKeyHost[Iap]):
    """A fake of `https://www.gstatic.com/iap/verify/public_key-jwk`. `caching` are the caching headers."""

    url_path = served_paths = PATH

    def __init__(self, signer: Iap) -> None:
        super().__init__(signer)
        self.caching = [b"Cache-Control: public, max-age=3000", b"Age: 0"]

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.paths)

    def response(self, path: str, received: ReceivedRequest) -> bytes:
        compress = re.search(r"\bgzip\b", received.header("accept-encoding") or "") is not None
        content = gzip.compress(self.signer.jwks()) if compress else self.signer.jwks()
        encoding = [b"Content-Encoding: gzip"] if compress else []
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
