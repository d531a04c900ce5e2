"""A fake of Identity-Aware Proxy (IAP) in front of an application.

https://cloud.google.com/iap/docs/authentication-howto: IAP accepts a Google-signed ID token for the OAuth client, with
an e-mail, or a JWT that a service account signs for itself, whose audience is the URL or a prefix of it with `*`, valid
for an hour at most; it reads Proxy-Authorization first, then Authorization.
https://cloud.google.com/iap/docs/faq: 302 for a client that follows redirects, 401 for a POST. IAP's responses as its
users report them: the header X-Goog-IAP-Generated-Response; "empty token", "Unable to parse JWT" and "JWT signature is
invalid" on live services; "JWT audience doesn't match" (GoogleCloudPlatform/professional-services#603); "JWT 'email'
claim isn't a string" (googleapis/google-auth-library-nodejs#792); "JWT has expired" (kubeflow/pipelines#4321).
Assumed, since it is undocumented: the body of a 403, the text for a token issued in the future, and that IAP passes on
an Authorization header that it has accepted.
"""

import http.client
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from .accounts import HOUR, IAP_CLIENT, ISSUER, Accounts
from .http import Request, Response, bearer

_SKEW = 30
_PAGE = b"<!DOCTYPE html><html><title>Error</title><h1>You don't have access</h1></html>"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date", "host"}


class _InvalidTokenError(Exception):
    """IAP rejects the token; the message is that of the response."""


class Iap:
    """`members` are the e-mail addresses with access.

    Without `upstream`, every allowed request gets the response of its path in `responses`, or `application_response`.
    `passed` has the requests that reached the
    application, `received_tokens` the tokens that IAP received.
    """

    def __init__(self, accounts: Accounts, upstream: str = "") -> None:
        self._accounts = accounts
        self.upstream = upstream
        self.client = IAP_CLIENT
        self.programmatic_clients: set[str] = set()
        self.members: set[str] = set()
        self.on = True
        self.passed: list[Request] = []
        self.received_tokens: list[str] = []
        self.application_response = Response.of_json({"experiments": []})
        self.responses: dict[str, Response] = {}

    def __call__(self, request: Request) -> Response:
        if not self.on:
            return self._application(request)
        try:
            email = self._authenticate(request)
        except _InvalidTokenError as error:
            return self._reject(request, str(error))
        if email not in self.members:
            return _iap_response(403, _PAGE)
        return self._application(request)

    def _authenticate(self, request: Request) -> str:
        proxy_token = bearer(request.headers["Proxy-Authorization"])
        del request.headers["Proxy-Authorization"]
        if proxy_token:
            try:
                return self._email(proxy_token, request)
            except _InvalidTokenError:
                pass
        return self._email(request.bearer, request)

    def _email(self, token: str, request: Request) -> str:
        if not token:
            raise _InvalidTokenError("Invalid IAP credentials: empty token")
        self.received_tokens.append(token)
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise _InvalidTokenError("Invalid IAP credentials: Unable to parse JWT") from None
        by_google = claims.get("iss") == ISSUER
        key = self._accounts.own_key if by_google else self._accounts.key_of.get(str(claims.get("iss")))
        if key is None or key.id != kid:
            raise _InvalidTokenError("Invalid IAP credentials: JWT signature is invalid")
        try:
            # Google's time is not this machine's, so times are compared below.
            jwt.decode(
                token,
                key.private.public_key(),
                ["RS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise _InvalidTokenError("Invalid IAP credentials: JWT signature is invalid") from None
        now = self._accounts.clock.now()
        if claims["exp"] + _SKEW < now:
            raise _InvalidTokenError("OpenID Connect token expired: JWT has expired")
        if claims["iat"] - _SKEW > now or claims["exp"] - claims["iat"] > HOUR:
            raise _InvalidTokenError("Invalid IAP credentials: JWT is issued in the future")
        self._check_audience(str(claims["aud"]), request, by_google=by_google)
        email = claims.get("email") if by_google else claims["sub"]
        if not isinstance(email, str):
            raise _InvalidTokenError("Invalid IAP credentials: JWT 'email' claim isn't a string")
        assert by_google or claims["sub"] == claims["iss"], claims
        return email

    def _check_audience(self, audience: str, request: Request, *, by_google: bool) -> None:
        if by_google:
            matches = audience in {self.client, *self.programmatic_clients}
            expected = self.client
        else:
            expected = f"https://{request.host}{request.target}"
            matches = expected.startswith(audience[:-1]) if audience.endswith("*") else audience == expected
        if not matches:
            detail = f"'aud' claim ({audience}) doesn't match expected value ({expected})"
            raise _InvalidTokenError(f"Invalid IAP credentials: JWT audience doesn't match this application ({detail})")

    def _reject(self, request: Request, text: str) -> Response:
        takes_redirects = any(kind in (request.headers["Accept"] or "") for kind in ("text/html", "*/*"))
        if "empty token" not in text or request.method == "POST" or not takes_redirects:
            return _iap_response(401, text.encode())
        redirect = "https://iap.googleapis.com/v1/oauth/clientIds/" + self.client + ":handleRedirect"
        query = urlencode({"client_id": self.client, "response_type": "code", "redirect_uri": redirect})
        return _iap_response(302, text.encode(), Location=f"https://accounts.google.com/o/oauth2/v2/auth?{query}")

    def _application(self, request: Request) -> Response:
        self.passed.append(request)
        if not self.upstream:
            return self.responses.get(request.path, self.application_response)
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=200)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            end_to_end = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Response(response.status, response.read(), end_to_end)
        finally:
            connection.close()


def _iap_response(status: int, body: bytes, **headers: str) -> Response:
    common = {"X-Goog-IAP-Generated-Response": "true", "Content-Type": "text/html; charset=UTF-8", "Alt-Svc": "clear"}
    return Response(status, body, {**common, **headers})
