"""Doubles of the two hosts that the checks ask without an API: Google's authorization endpoint, and Amazon ECR."""

import base64
import time
import urllib.parse
from typing import Any, cast

import requests
from requests.adapters import BaseAdapter

from tests.preflight.gcp_project import NUMBER


class Web(BaseAdapter):
    """Refuses other hosts, paths and parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.clients = {f"{NUMBER}-abcdef0123456789.apps.googleusercontent.com"}
        self.with_redirect = set(self.clients)
        self.registry_status = 200
        self.offline = False
        self.latency = 0.0

    def close(self) -> None:
        """Nothing to close."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:  # pyright: ignore
        time.sleep(self.latency)
        if self.offline:
            raise requests.ConnectionError
        url = urllib.parse.urlsplit(str(request.url))
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        cast("Any", response)._content = b""
        assert request.method == "GET"
        if url.hostname == "accounts.google.com":
            assert "Authorization" not in request.headers
            self._authorize(response, url)
        else:
            # https://distribution.github.io/distribution/spec/api/#api-version-check
            assert str(url.hostname).endswith(".amazonaws.com")
            assert url.path == "/v2/"
            scheme, _, token = str(request.headers["Authorization"]).partition(" ")
            assert scheme == "Basic"
            assert base64.b64decode(token).startswith(b"AWS:")
            response.status_code = self.registry_status
        return response

    def _authorize(self, response: requests.Response, url: urllib.parse.SplitResult) -> None:
        """Go on to the login page, or to an error page with the error's name in Base64.

        https://developers.google.com/identity/protocols/oauth2/web-server#authorization-errors
        """
        assert url.path == "/o/oauth2/v2/auth"
        query = dict(urllib.parse.parse_qsl(url.query))
        assert set(query) == {"client_id", "redirect_uri", "response_type", "scope"}
        assert (
            query["redirect_uri"]
            == f"https://iap.googleapis.com/v1/oauth/clientIds/{query['client_id']}:handleRedirect"
        )
        error = ""
        if query["client_id"] not in self.clients:
            error = "invalid_client"
        elif query["client_id"] not in self.with_redirect:
            error = "redirect_uri_mismatch"
        encoded = base64.urlsafe_b64encode(b"\n\x15" + error.encode()).decode()
        where = f"error?authError={encoded}" if error else "identifier?continue=1"
        response.status_code = 302
        response.headers["Location"] = f"https://accounts.google.com/signin/oauth/{where}"
