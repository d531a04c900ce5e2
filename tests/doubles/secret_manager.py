"""A fake of Secret Manager, and of a VM's metadata server: the calls that reading a secret or getting a token needs.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
https://cloud.google.com/compute/docs/access/authenticate-workloads
"""

import base64
import contextlib
import http.server
import json
import re
import secrets
import threading
from collections.abc import Generator
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import google_crc32c

_untyped: Any = google_crc32c
PROJECT = "team-ml"
ACCOUNT = f"mlflow@{PROJECT}.iam.gserviceaccount.com"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_ACCESS = re.compile(rf"/v1/projects/{PROJECT}/secrets/([A-Za-z0-9_-]+)/versions/(latest|\d+):access")
_METADATA = "/computeMetadata/v1/"


class SecretManager(http.server.ThreadingHTTPServer):
    """`secrets` maps a name to its versions, oldest first.

    Reads of the secrets in `forbidden` return 403; those in `damaged` return a wrong checksum.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: dict[str, list[bytes]] = {}
        self.forbidden: set[str] = set()
        self.damaged: set[str] = set()
        # The scopes of each token.
        self.tokens: dict[str, list[str]] = {}
        # Seconds.
        self.token_lifetime = 3599
        # (secret, requested version) of each read that returned a payload.
        self.reads: list[tuple[str, str]] = []

    def new_token(self, *scopes: str) -> str:
        """A new access token of the account; that of a VM has the scope cloud-platform by default."""
        token = "ya29." + secrets.token_urlsafe(24)
        self.tokens[token] = list(scopes) or [CLOUD_PLATFORM]
        return token

    @property
    def url(self) -> str:
        """The base URL of both APIs."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make a process use this metadata server."""
        host = f"127.0.0.1:{self.server_port}"
        return {"GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "GOOGLE_CLOUD_PROJECT": PROJECT}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = cast("SecretManager", self.server)
        path = urlsplit(self.path).path
        if path.startswith(_METADATA) or path == "/":
            self._metadata(server, path)
        elif found := _ACCESS.fullmatch(path):
            self._access(server, found[1], found[2])
        else:
            self._error(404, "NOT_FOUND", "no such method")

    def _metadata(self, server: SecretManager, path: str) -> None:
        if self.headers["Metadata-Flavor"] != "Google":
            self._answer(403, {"error": "Missing Metadata-Flavor:Google header."})
            return
        key = path.removeprefix(_METADATA)
        account = "instance/service-accounts/default/"
        # An account's e-mail address stands for `default`, too.
        key = key.replace(f"/{ACCOUNT}/", "/default/")
        if key == account + "token":
            scopes = parse_qs(urlsplit(self.path).query).get("scopes", [""])[0].split(",")
            token = server.new_token(*filter(None, scopes))
            self._answer(200, {"access_token": token, "expires_in": server.token_lifetime, "token_type": "Bearer"})
        elif key == account or path == "/":
            self._answer(200, {"email": ACCOUNT, "aliases": ["default"], "scopes": []})
        elif key == "universe/universe-domain":
            self._answer(200, "googleapis.com")
        elif key == "project/project-id":
            self._answer(200, PROJECT)
        else:
            self._answer(404, {})

    def _access(self, server: SecretManager, name: str, version: str) -> None:
        if CLOUD_PLATFORM not in server.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), ()):
            self._error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
            return
        path = f"projects/{PROJECT}/secrets/{name}/versions/{version}"
        if name in server.forbidden:
            self._error(
                403,
                "PERMISSION_DENIED",
                f"Permission 'secretmanager.versions.access' denied for resource '{path}' (or it may not exist).",
            )
            return
        versions = server.secrets.get(name, [])
        number = len(versions) if version == "latest" else int(version)
        if not 0 < number <= len(versions):
            self._error(404, "NOT_FOUND", f"Secret Version [{path}] not found.")
            return
        server.reads.append((name, version))
        data = versions[number - 1]
        checksum: int = _untyped.value(data) ^ (name in server.damaged)
        self._answer(
            200,
            {
                "name": f"projects/1234/secrets/{name}/versions/{number}",
                "payload": {"data": base64.b64encode(data).decode(), "dataCrc32c": str(checksum)},
            },
        )

    def _error(self, code: int, status: str, message: str) -> None:
        self._answer(code, {"error": {"code": code, "message": message, "status": status}})

    def _answer(self, code: int, content: object) -> None:
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


@contextlib.contextmanager
def running() -> Generator[SecretManager]:
    """Run the server on a free loopback port."""
    with SecretManager() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
