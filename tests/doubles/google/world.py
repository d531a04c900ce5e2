"""All of it together, and what a client has to be told to live in it."""

import contextlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

from local.fake_sagemaker.tls import Authority

from .accounts import JOB, Accounts, Clock, Key
from .http import Answer, Asked
from .iap import Iap
from .internet import Internet
from .tokens import IamCredentials, MetadataServer, TokenEndpoint, TokenExchange

HOST = "mlflow-dot-team.ew.r.appspot.com"
URL = f"https://{HOST}"
# A host of somebody else's, which works, and notes what it is sent.
ELSEWHERE = "files.example.net"
# Shows a certificate of an authority that nobody knows.
UNTRUSTED = "untrusted.example.net"
_GOOGLES = ("oauth2", "sts", "iamcredentials", "cloudresourcemanager")
_HOSTS = (HOST, ELSEWHERE, UNTRUSTED, *(f"{api}.googleapis.com" for api in _GOOGLES))


class World:
    """Google, an IAP in front of MLflow at `URL`, and a host elsewhere."""

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
            ELSEWHERE: _elsewhere,
            UNTRUSTED: _elsewhere,
            "oauth2.googleapis.com": self.token_endpoint,
            "sts.googleapis.com": self.token_exchange,
            # google-auth asks it what a federation's project is called, and goes on when it may not.
            "cloudresourcemanager.googleapis.com": lambda _: Answer.of_json({"error": {"code": 403}}, 403),
            "iamcredentials.googleapis.com": self.iam,
        }
        self.internet.untrusted.add(UNTRUSTED)
        self.metadata_host = ""

    @classmethod
    def certificates(cls, folder: Path) -> tuple[Authority, Authority]:
        return Authority.create(folder / "known", *_HOSTS), Authority.create(folder / "unknown", *_HOSTS)

    @contextlib.contextmanager
    def running(self) -> Generator["World"]:
        with self.internet.running(), self.internet.listening(self.metadata) as self.metadata_host:
            yield self

    @property
    def environ(self) -> dict[str, str]:
        """For a client that is on no machine of Google's, and has signed in nowhere."""
        return {
            "HOME": str(self.folder),
            "HTTPS_PROXY": self.internet.proxy_url,
            "REQUESTS_CA_BUNDLE": str(self.internet.authority.ca_file),
            "NO_GCE_CHECK": "true",
        }

    def on_google(self) -> dict[str, str]:
        """The same on one of Google's machines."""
        host = self.metadata_host
        return {**self.environ, "NO_GCE_CHECK": "", "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host}

    def file(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def check(self) -> None:
        """Nothing was asked that no client should ask, and nobody who was not meant."""
        assert self.internet.wrong == [], self.internet.wrong
        assert self.internet.strangers == [], self.internet.strangers
        for asked in self.internet.asked_of(ELSEWHERE):
            assert "eyJ" not in str(asked.headers), "a token went elsewhere"


def _elsewhere(asked: Asked) -> Answer:
    if "path" in asked.query:
        return Answer.of_json({"files": []})
    return Answer(200, b"a file", {"Content-Type": "text/plain"})
