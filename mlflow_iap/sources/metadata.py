"""The metadata server of Compute Engine, GKE, Cloud Run, App Engine, Vertex AI: the service account of the machine."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import requests
from google.auth import compute_engine

from .google import explained, request_of, session
from .impersonation import sign_jwt

# Google's own clients ask this address too, and take the same variables for another.
_ADDRESS = "169.254.169.254"


def present(environ: Mapping[str, str]) -> bool:
    """Whether there is a metadata server; two seconds when there is none and packets to it are lost.

    https://cloud.google.com/compute/docs/instances/detect-compute-engine
    """
    if environ.get("NO_GCE_CHECK") == "true":
        return False
    address = environ.get("GCE_METADATA_IP") or environ.get("GCE_METADATA_HOST") or _ADDRESS
    with session(proxies=False) as made:
        for _ in range(2):
            try:
                answer = made.get(f"http://{address}", headers={"Metadata-Flavor": "Google"}, timeout=1)
                return answer.headers.get("Metadata-Flavor") == "Google"
            except requests.RequestException:
                continue
    return False


@dataclasses.dataclass(frozen=True)
class Metadata:
    audience: str
    self_signed: bool
    now: Callable[[], float]

    def __str__(self) -> str:
        return "the metadata server"

    def fetch(self) -> str:
        with explained("The metadata server gives no token"), session(proxies=False) as made:
            request, untyped = request_of(made), _untyped(compute_engine)
            if not self.self_signed:
                # It asks with format=full: only that has the e-mail, without which IAP refuses.
                credentials = untyped.IDTokenCredentials(request, self.audience, use_metadata_identity_endpoint=True)
                credentials.refresh(request)
                return str(credentials.token)
            credentials = untyped.Credentials()
            credentials.refresh(request)
        return sign_jwt(str(credentials.service_account_email), self.audience, credentials, self.now())


def _untyped(module: Any) -> Any:
    return module
