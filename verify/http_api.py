"""One request over plain HTTP, and what to think of its answer."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from verify.failures import Failed, Stop, explain, plain
from verify.target import ROLE, Target

PREFIX = "/api/2.0/mlflow/"
CONNECT_SECONDS = 10.0


class Answer:
    """status: the HTTP status; body: the JSON object, empty when there is none."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.location = response.headers.get("Location", "")
        self.text = response.text
        self.body: dict[str, Any] = {}
        try:
            if isinstance(decoded := json.loads(response.content), dict):
                self.body = cast("dict[str, Any]", decoded)
        except ValueError:
            pass

    @property
    def error_code(self) -> str:
        return str(self.body.get("error_code", ""))

    @property
    def is_page(self) -> bool:
        return self.text.lstrip()[:1] == "<"

    def __str__(self) -> str:
        """The status and the server's own words."""
        if said := " ".join(str(self.body[key]) for key in ("error_code", "message") if self.body.get(key)):
            return f"{self.status} {plain(said)}"
        if self.is_page:
            title = re.search(r"<title>(.*?)</title>", self.text, re.IGNORECASE | re.DOTALL)
            return f"{self.status} and a web page" + (f" ({plain(title[1])})" if title else "")
        return f"{self.status} {plain(self.text)}".strip()


class _Authorization(AuthBase):
    """With an object here requests does not look for a .netrc, whose password would win over the token."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            r.headers["Authorization"] = f"Bearer {self.token}"
        return r


class Api:
    """MLflow's REST API at one target. Methods raise Failed, or Stop when no other request would fare better."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.session = requests.Session()

    def get(self, route: str, **query: str) -> dict[str, Any]:
        return self._judged(self.ask("GET", route, query, self.target.token))

    def post(self, route: str, **fields: Any) -> dict[str, Any]:
        return self._judged(self.ask("POST", route, fields, self.target.token))

    def ask(self, method: str, route: str, fields: Mapping[str, Any], token: str | None) -> Answer:
        """Whatever the server says; Stop when it says nothing."""
        query, body = (fields, None) if method == "GET" else (None, _json(fields))
        try:
            response = self.session.request(
                method,
                f"{self.target.url}{PREFIX}{route}",
                params=query,
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else None,
                auth=_Authorization(token),
                timeout=(min(CONNECT_SECONDS, self.target.timeout), self.target.timeout),
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            raise Stop(explain(error, self.target.url) or plain(str(error))) from error
        finally:
            # A cookie set by one answer would let the next request in.
            self.session.cookies.clear()
        answer = Answer(response)
        here, there = urlsplit(self.target.url), urlsplit(answer.location)
        if here.scheme == "http" and there.scheme == "https" and here.hostname == there.hostname:
            raise Stop(f"{self.target.url} only sends callers on to https://: use URL=https://... instead.")
        if here.path and answer.status == 404 and answer.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise Stop(
                f"No MLflow answers under the path {here.path}: leave it out, URL={here.scheme}://{here.netloc}, "
                f"unless the deployment has one. The answer: {answer}"
            )
        return answer

    def stop_if_no_mlflow(self, answer: Answer) -> None:
        """Stop when the token is not accepted, or when something other than MLflow answers."""
        if answer.status == 401:
            raise Stop(f"The token is not accepted: wrong, expired or revoked. The answer: {answer}")
        if 300 <= answer.status < 400 or (answer.is_page and answer.status < 500):
            where = f", on its way to {plain(answer.location)}" if answer.location else ""
            raise Stop(
                f"The answer is not MLflow's but {answer}{where}: "
                "a login page that knows no tokens, or not the address of MLflow's API."
            )
        if answer.is_page:
            raise Stop(
                f"Something in front of the proxy answers {answer}: nothing healthy seems to be behind it, "
                "or this is no proxy's URL."
            )

    def _judged(self, answer: Answer) -> dict[str, Any]:
        self.stop_if_no_mlflow(answer)
        if answer.status == 403:
            raise Failed(
                f"The token's role is too weak for this, or the proxy's own rights are; the role must be {ROLE}. "
                f"The answer: {answer}"
            )
        if answer.status != 200:
            raise Failed(f"The answer: {answer}")
        if not answer.body and answer.text.strip() not in {"", "{}"}:
            raise Failed(f"The answer is not a JSON object: {plain(answer.text)}")
        return answer.body


def field(answer: Any, *path: str) -> Any:
    """A value deep in an answer; Failed names the first part of the path that is missing."""
    for depth, name in enumerate(path, 1):
        if not isinstance(answer, dict) or name not in answer:
            raise Failed(f"The answer has no {'.'.join(path[:depth])}.")
        answer = cast("dict[str, Any]", answer)[name]
    return answer


def _json(fields: Mapping[str, Any]) -> bytes:
    # UTF-8 as it is, where the MLflow client sends escapes: both have to work.
    return json.dumps(fields, ensure_ascii=False).encode()
