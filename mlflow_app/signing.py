"""Signs URLs of Cloud Storage as this process's service account, which has no private key on Google's machines."""

import base64
import binascii
import threading
from typing import Any, cast

import google.auth
import requests
from google.auth.credentials import Signing
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT_SECONDS = 10.0
# Of one signature; with the timeout and the delays between the attempts it takes at most 35 s.
_RETRIES = 2
SIGNING_THREADS = 16


class SigningError(Exception):
    """Nothing can be signed; the message contains the reason and the missing role."""


class ServiceAccount:
    """This process's service account; thread-safe. Its access token is fetched again shortly before it expires."""

    def __init__(self, iam_credentials_url: str) -> None:
        self._url = iam_credentials_url
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._session: requests.Session | None = None

    def signing(self) -> Signing:
        """What `generate_signed_url` takes as `credentials`. Raises SigningError."""
        with self._lock:
            try:
                # Not google-auth's own session: password.py says why.
                if self._credentials is None:
                    untyped: Any = google.auth
                    self._credentials = untyped.default(scopes=[_SCOPE])[0]
                    self._session = _session(self._url)
                if isinstance(self._credentials, Signing):
                    return self._credentials
                if not self._credentials.valid:
                    with requests.Session() as session:
                        self._credentials.refresh(Request(session))
            except (GoogleAuthError, requests.RequestException) as error:
                raise SigningError(f"No access token: {error}") from error
            email = str(getattr(self._credentials, "service_account_email", None) or "")
            if "@" not in email:
                raise SigningError("The credentials are not those of a service account.")
            return _SignBlob(cast("requests.Session", self._session), self._url, email, str(self._credentials.token))


def _session(origin: str) -> requests.Session:
    session = requests.Session()
    retry = Retry(
        _RETRIES,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,
        backoff_factor=0.5,
        respect_retry_after_header=False,
    )
    session.mount(origin, HTTPAdapter(pool_maxsize=SIGNING_THREADS, max_retries=retry))
    return session


class _SignBlob(Signing):
    """The IAM Service Account Credentials API.

    https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob. Not google-auth's
    Signer: it calls a second Google host (allowedLocations), without a limit on its time.
    """

    def __init__(self, session: requests.Session, origin: str, email: str, token: str) -> None:
        self._session = session
        self._url = f"{origin}/v1/projects/-/serviceAccounts/{email}:signBlob"
        self._email = email
        self._token = token

    @property
    def signer_email(self) -> str:
        return self._email

    @property
    def signer(self) -> None:
        return None

    def sign_bytes(self, message: bytes) -> bytes:
        """The RSA signature with a key that Google manages. Raises SigningError."""
        try:
            response = self._session.post(
                self._url,
                json={"payload": base64.b64encode(message).decode()},
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
            result: Any = response.json()
            if response.status_code == 200:
                return base64.b64decode(result["signedBlob"], validate=True)
            reason = f"{response.status_code} {str(result['error']['message'])[:500]}"
            if response.status_code == 403:
                reason += " The account needs roles/iam.serviceAccountTokenCreator on itself."
        except (requests.RequestException, ValueError, KeyError, TypeError, binascii.Error) as error:
            reason = str(error)
        raise SigningError(f"signBlob for {self._email}: {reason}")
