"""A fake of the IAM Service Account Credentials API: signBlob.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob. Tokens are those of
the fake metadata server. The key is generated: Google's never leaves Google.
"""

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Generator
from typing import Any, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.doubles.secret_manager import ACCOUNT, CLOUD_PLATFORM, SecretManager

_SCOPES = {CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"}


class IamCredentials(http.server.ThreadingHTTPServer):
    """`allowed`: the account has iam.serviceAccounts.signBlob on itself. `faults` are statuses, sent first."""

    daemon_threads = True

    def __init__(self, metadata: SecretManager) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.metadata = metadata
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.allowed = True
        self.faults: list[int] = []
        # The token of each request that was signed.
        self.signed: list[str] = []

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """The image's setting."""
        return {"MLFLOW_APP_IAM_CREDENTIALS_URL": self.url}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write per response: a second one would wait for the acknowledgement of the first.
    wbufsize = -1

    def do_POST(self) -> None:
        server = cast("IamCredentials", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if server.faults:
            self._error(server.faults.pop(0), "UNAVAILABLE", "The service is currently unavailable.")
        elif self.path != f"/v1/projects/-/serviceAccounts/{ACCOUNT}:signBlob":
            self._error(404, "NOT_FOUND", "Unknown service account")
        elif not _SCOPES & set(server.metadata.tokens.get(token, ())):
            self._error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        elif not server.allowed:
            text = "Permission 'iam.serviceAccounts.signBlob' denied on resource (or it may not exist)."
            self._error(403, "PERMISSION_DENIED", text)
        else:
            self._sign(server, body, token)

    def _sign(self, server: IamCredentials, body: bytes, token: str) -> None:
        try:
            request = json.loads(body)
            unknown = set(request) - {"payload", "delegates"}
            payload = base64.b64decode(request["payload"], validate=True)
        except (ValueError, KeyError, TypeError):
            unknown, payload = {"payload"}, b""
        if unknown or not payload or self.headers.get_content_type() != "application/json":
            self._error(400, "INVALID_ARGUMENT", f"Invalid value at {sorted(unknown)}")
            return
        server.signed.append(token)
        signature = server.key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        self._answer(200, {"keyId": "1", "signedBlob": base64.b64encode(signature).decode()})

    def _error(self, code: int, status: str, message: str) -> None:
        self._answer(code, {"error": {"code": code, "message": message, "status": status}})

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


@contextlib.contextmanager
def running(metadata: SecretManager) -> Generator[IamCredentials]:
    """Run the API on a free loopback port; it accepts the tokens that `metadata` issued."""
    with IamCredentials(metadata) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
