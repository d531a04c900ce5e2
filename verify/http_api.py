"""A client of MLflow's REST API, and the interpretation of its responses."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from verify.errors import StepFailed, VerificationAborted, describe_connection_error, sanitize
from verify.target import ROLE, Target

PREFIX = "/api/2.0/mlflow/"
CONNECT_SECONDS = 10.0


class ApiResponse:
    """A response. `body`: its JSON object, empty when it has none."""

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
        """MLflow's error code; may be empty."""
        return str(self.body.get("error_code", ""))

    @property
    def is_page(self) -> bool:
        """Whether the body looks like HTML."""
        return self.text.lstrip()[:1] == "<"

    def __str__(self) -> str:
        """The status and the server's message."""
        if message := " ".join(str(self.body[key]) for key in ("error_code", "message") if self.body.get(key)):
            return f"{self.status} {sanitize(message)}"
        if self.is_page:
            title = re.search(r"<title>(.*?)</title>", self.text, re.IGNORECASE | re.DOTALL)
            return f"{self.status} and a web page" + (f" ({sanitize(title[1])})" if title else "")
        return f"{self.status} {sanitize(self.text)}".strip()


class _Authorization(AuthBase):
    """Sets the bearer token. With an auth object, requests does not read .netrc, which would replace the token."""

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.token is not None:
            r.headers["Authorization"] = f"Bearer {self.token}"
        return r


class MlflowApi:
    """MLflow's REST API at the target. Methods raise StepFailed, or VerificationAborted if all requests would fail."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.session = requests.Session()

    def get(self, route: str, **query: str) -> dict[str, Any]:
        """The JSON object of a GET request with the token."""
        return self._checked_body(self.request("GET", route, query, self.target.token))

    def post(self, route: str, **fields: Any) -> dict[str, Any]:
        """The JSON object of a POST request with the token."""
        return self._checked_body(self.request("POST", route, fields, self.target.token))

    def request(self, method: str, route: str, fields: Mapping[str, Any], token: str | None) -> ApiResponse:
        """The response to a request with any token or none; VerificationAborted when there is no response."""
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
            raise VerificationAborted(
                describe_connection_error(error, self.target.url) or sanitize(str(error))
            ) from error
        finally:
            # A cookie set by one response could authenticate the next request.
            self.session.cookies.clear()
        answer = ApiResponse(response)
        here, there = urlsplit(self.target.url), urlsplit(answer.location)
        if here.scheme == "http" and there.scheme == "https" and here.hostname == there.hostname:
            raise VerificationAborted(f"{self.target.url} redirects to https://. Use URL=https://... instead.")
        if here.path and answer.status == 404 and answer.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise VerificationAborted(
                f"No MLflow API at the path {here.path}. Use URL={here.scheme}://{here.netloc} "
                f"unless the deployment has a path prefix. Response: {answer}"
            )
        return answer

    def page(self, path: str, accept: str) -> requests.Response:
        """The response to a GET of a page or of one of its files, with the token; VerificationAborted without one."""
        try:
            return self.session.get(
                f"{self.target.url}{path}",
                headers={"Accept": accept},
                auth=_Authorization(self.target.token),
                timeout=self.target.timeout,
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            raise VerificationAborted(
                describe_connection_error(error, self.target.url) or sanitize(str(error))
            ) from error
        finally:
            self.session.cookies.clear()

    def server_version(self) -> str:
        """The version of MLflow's server, by its page /version; otherwise why it is not known."""
        try:
            response = self.session.get(
                f"{self.target.url}/version",
                auth=_Authorization(self.target.token),
                timeout=self.target.timeout,
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            return f"not known ({type(error).__name__})"
        version = re.fullmatch(r"\d+\.\d+[\w.+]{0,20}", response.text.strip())
        return version[0] if response.status_code == 200 and version else f"not known ({response.status_code})"

    def abort_unless_mlflow(self, answer: ApiResponse) -> None:
        """VerificationAborted when the token is rejected, or when the response is not MLflow's."""
        if answer.status == 401:
            raise VerificationAborted(f"The token is invalid, expired or revoked. Response: {answer}")
        if 300 <= answer.status < 400 or (answer.is_page and answer.status < 500):
            where = f", a redirect to {sanitize(answer.location)}" if answer.location else ""
            raise VerificationAborted(
                f"The response is not MLflow's: {answer}{where}. "
                "The URL leads to a login page that does not accept tokens, or is not that of MLflow's API."
            )
        if answer.is_page:
            raise VerificationAborted(
                f"A load balancer or web server responds instead of the proxy: {answer}. It has no healthy target, "
                "or the URL is not that of the proxy."
            )

    def _checked_body(self, answer: ApiResponse) -> dict[str, Any]:
        self.abort_unless_mlflow(answer)
        if answer.status == 403:
            raise StepFailed(
                f"The token's role, or the proxy's own permissions, do not allow this; the role must be {ROLE}. "
                f"Response: {answer}"
            )
        if answer.status != 200:
            raise StepFailed(f"Response: {answer}")
        if not answer.body and answer.text.strip() not in {"", "{}"}:
            raise StepFailed(f"The response is not a JSON object: {sanitize(answer.text)}")
        return answer.body


def field(answer: Any, *path: str) -> Any:
    """A nested value of a response; StepFailed names the first part of the path that is missing."""
    for depth, name in enumerate(path, 1):
        if not isinstance(answer, dict) or name not in answer:
            raise StepFailed(f"The response has no {'.'.join(path[:depth])}.")
        answer = cast("dict[str, Any]", answer)[name]
    return answer


def _json(fields: Mapping[str, Any]) -> bytes:
    # Unescaped UTF-8; the MLflow client sends escapes. Both must work.
    return json.dumps(fields, ensure_ascii=False).encode()
