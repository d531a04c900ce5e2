"""All fakes together, and the environment of a client that uses them."""

import contextlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

from local.fake_sagemaker.tls import Authority

from .accounts import JOB, Accounts, Clock, Key
from .http import Request, Response
from .iap import Iap
from .internet import Internet
from .tokens import IamCredentials, MetadataServer, TokenEndpoint, TokenExchange

HOST = "mlflow-dot-team.ew.r.appspot.com"
URL = f"https://{HOST}"
# A host that is not behind IAP and records its requests.
OTHER_HOST = "files.example.net"
# Presents a certificate of an unknown authority.
UNTRUSTED = "untrusted.example.net"
_GOOGLES = ("oauth2", "sts", "iamcredentials", "cloudresourcemanager", "storage")
_HOSTS = (HOST, OTHER_HOST, UNTRUSTED, *(f"{api}.googleapis.com" for api in _GOOGLES))


class World:
    """Google's services, IAP in front of MLflow at `URL`, and two other hosts."""

    def __init__(self, folder: Path, authorities: tuple[Authority, Authority], keys: tuple[Key, Key]) -> None:
        self.folder = folder
        self.clock = Clock()
        self.accounts = Accounts(self.clock, *keys)
        self.internet = Internet(self.clock, *authorities)
        self.token_endpoint = TokenEndpoint(self.accounts)
        self.token_exchange = TokenExchange(self.accounts)
        self.iam = IamCredentials(self.accounts)
        self.metadata = MetadataServer(self.accounts, JOB)
        self.iap = Iap(self.accounts)
        self.iap.members.add(JOB)
        self.internet.sites |= {
            HOST: self.iap,
            OTHER_HOST: _other_host,
            UNTRUSTED: _other_host,
            "oauth2.googleapis.com": self.token_endpoint,
            "sts.googleapis.com": self.token_exchange,
            # google-auth looks up the project of a federated identity, and tolerates an error.
            "cloudresourcemanager.googleapis.com": lambda _: Response.of_json({"error": {"code": 403}}, 403),
            "iamcredentials.googleapis.com": self.iam,
            "storage.googleapis.com": self._storage,
        }
        self.internet.untrusted.add(UNTRUSTED)
        self.metadata_host = ""
        # The response of Cloud Storage to each part of a file; cloud_storage.py is the whole service.
        self.part_response = Response(200, b"", {"ETag": '"9dd4e461268c8034f5c8564e155c67a6"'})

    @classmethod
    def certificates(cls, folder: Path) -> tuple[Authority, Authority]:
        """(the authority that clients trust, another one), with certificates for all hosts."""
        return Authority.create(folder / "known", *_HOSTS), Authority.create(folder / "unknown", *_HOSTS)

    @contextlib.contextmanager
    def running(self) -> Generator["World"]:
        """Run the HTTPS proxy and the metadata server."""
        with self.internet.running(), self.internet.listening(self.metadata) as self.metadata_host:
            yield self

    def _storage(self, request: Request) -> Response:
        assert request.method == "PUT", request
        assert request.query["X-Goog-Signature"], "the request is not signed"
        assert not request.headers["Authorization"], "a token went to Cloud Storage"
        return self.part_response

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a client outside of Google Cloud, without credentials."""
        return {
            "HOME": str(self.folder),
            "HTTPS_PROXY": self.internet.proxy_url,
            "REQUESTS_CA_BUNDLE": str(self.internet.authority.ca_file),
            "NO_GCE_CHECK": "true",
        }

    def on_google(self) -> dict[str, str]:
        """The environment of a client on a Google Cloud VM."""
        host = self.metadata_host
        return {**self.environ, "NO_GCE_CHECK": "", "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}

    def file(self, name: str, content: Any) -> Path:
        """Write a file below the folder: text as it is, anything else as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def check(self) -> None:
        """Fail if a client sent a malformed request, used an unexpected host, or sent a token to another host."""
        assert self.internet.wrong == [], self.internet.wrong
        assert self.internet.unexpected_hosts == [], self.internet.unexpected_hosts
        for request in self.internet.requests_to(OTHER_HOST):
            assert "eyJ" not in str(request.headers), "a token went to another host"


def _other_host(request: Request) -> Response:
    if "path" in request.query:
        return Response.of_json({"files": []})
    return Response(200, b"a file", {"Content-Type": "text/plain"})
