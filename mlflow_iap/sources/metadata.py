"""Tokens of a machine's service account, by the metadata server of Compute Engine, GKE, Cloud Run and others."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import requests
from google.auth import compute_engine

from .google_api import auth_request, create_session, token_errors
from .impersonation import sign_jwt

# The default of Google's client libraries; the environment variables below are theirs, too.
_ADDRESS = "169.254.169.254"


def has_metadata_server(environ: Mapping[str, str]) -> bool:
    """Whether there is a metadata server; takes two seconds if packets to its address are dropped.

    https://cloud.google.com/compute/docs/instances/detect-compute-engine
    """
    if environ.get("NO_GCE_CHECK") == "true":
        return False
    address = environ.get("GCE_METADATA_IP") or environ.get("GCE_METADATA_HOST") or _ADDRESS
    with create_session(use_proxies=False) as session:
        for _ in range(2):
            try:
                response = session.get(f"http://{address}", headers={"Metadata-Flavor": "Google"}, timeout=1)
                return response.headers.get("Metadata-Flavor") == "Google"
            except requests.RequestException:
                continue
    return False


@dataclasses.dataclass(frozen=True)
class MetadataServer:
    """The metadata server of this machine."""

    audience: str
    self_signed: bool
    now: Callable[[], float]

    def __str__(self) -> str:
        return "the metadata server"

    def fetch(self) -> str:
        """A new token. Raises TokenError."""
        with token_errors("The metadata server gives no token"), create_session(use_proxies=False) as session:
            request, untyped = auth_request(session), _untyped(compute_engine)
            if not self.self_signed:
                # google-auth requests format=full: only then does the token have the e-mail that IAP requires.
                credentials = untyped.IDTokenCredentials(request, self.audience, use_metadata_identity_endpoint=True)
                credentials.refresh(request)
                return str(credentials.token)
            credentials = untyped.Credentials()
            credentials.refresh(request)
        return sign_jwt(str(credentials.service_account_email), self.audience, credentials, self.now())


def _untyped(module: Any) -> Any:
    return module
