"""Requests and responses of the fake sites."""

import dataclasses
import json
from collections.abc import Callable
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that a site received; `target` is the path with the query."""

    host: str
    method: str
    target: str
    headers: Message
    body: bytes = dataclasses.field(repr=False)

    @property
    def path(self) -> str:
        """The target without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query parameters."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The form fields of the body; fails for another content type."""
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded", self.headers["Content-Type"]
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def bearer(self) -> str:
        """The bearer token of the Authorization header; empty if there is none."""
        return bearer(self.headers["Authorization"])


def bearer(value: str | None) -> str:
    """The bearer token of a header value; empty if there is none."""
    scheme, _, token = (value or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


@dataclasses.dataclass(frozen=True)
class Response:
    """A site's response."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    @classmethod
    def of_json(cls, value: Any, status: int = 200) -> "Response":
        """A response with a JSON body."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


Site = Callable[[Request], Response]
