"""Identity-Aware Proxy in front of an application.

https://cloud.google.com/iap/docs/authentication-howto: an ID token of Google's for the OAuth client, with an e-mail,
or a JWT that a service account signs itself, issued by and for itself, for the URL or for a prefix of it with `*`, of
an hour at most; Proxy-Authorization first, then Authorization.
https://cloud.google.com/iap/docs/faq: 302 for a client that takes a redirect, and 401 for a POST. Its own answers, as
seen by its users: the header X-Goog-IAP-Generated-Response; "empty token", "Unable to parse JWT" and "JWT signature is
invalid" on live services; "JWT audience doesn't match" (GoogleCloudPlatform/professional-services#603); "JWT 'email'
claim isn't a string" (googleapis/google-auth-library-nodejs#792); "JWT has expired" (kubeflow/pipelines#4321).
Not known, so made up: the text of the page with a 403 and of a token from the future; whether an Authorization that IAP
has taken is passed on.
"""

import http.client
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from .accounts import HOUR, IAP_CLIENT, ISSUER, Accounts
from .http import Answer, Asked, bearer

_SKEW = 30
_PAGE = b"<!DOCTYPE html><html><title>Error</title><h1>You don't have access</h1></html>"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date", "host"}


class _Refused(Exception):
    pass


class Iap:
    """`members` are e-mails. With no `upstream` the application is a small one that has every page.

    `passed` are the requests that it let in, as they came to the application.
    """

    def __init__(self, accounts: Accounts, upstream: str = "") -> None:
        self._accounts = accounts
        self.upstream = upstream
        self.client = IAP_CLIENT
        self.programmatic_clients: set[str] = set()
        self.members: set[str] = set()
        self.on = True
        self.passed: list[Asked] = []
        self.seen: list[str] = []
        self.answer_of_application = Answer.of_json({"experiments": []})

    def __call__(self, asked: Asked) -> Answer:
        if not self.on:
            return self._application(asked)
        try:
            email = self._caller(asked)
        except _Refused as refused:
            return self._refusal(asked, str(refused))
        if email not in self.members:
            return _own(403, _PAGE)
        return self._application(asked)

    def _caller(self, asked: Asked) -> str:
        in_proxy = bearer(asked.headers["Proxy-Authorization"])
        del asked.headers["Proxy-Authorization"]
        if in_proxy:
            try:
                return self._email(in_proxy, asked)
            except _Refused:
                pass
        return self._email(asked.bearer, asked)

    def _email(self, token: str, asked: Asked) -> str:
        if not token:
            raise _Refused("Invalid IAP credentials: empty token")
        self.seen.append(token)
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError:
            raise _Refused("Invalid IAP credentials: Unable to parse JWT") from None
        by_google = claims.get("iss") == ISSUER
        key = self._accounts.own_key if by_google else self._accounts.key_of.get(str(claims.get("iss")))
        if key is None or key.id != kid:
            raise _Refused("Invalid IAP credentials: JWT signature is invalid")
        try:
            # Google's time is not this machine's, so times are compared below.
            jwt.decode(
                token,
                key.private.public_key(),
                ["RS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise _Refused("Invalid IAP credentials: JWT signature is invalid") from None
        now = self._accounts.clock.now()
        if claims["exp"] + _SKEW < now:
            raise _Refused("OpenID Connect token expired: JWT has expired")
        if claims["iat"] - _SKEW > now or claims["exp"] - claims["iat"] > HOUR:
            raise _Refused("Invalid IAP credentials: JWT is issued in the future")
        self._check_audience(str(claims["aud"]), asked, by_google=by_google)
        email = claims.get("email") if by_google else claims["sub"]
        if not isinstance(email, str):
            raise _Refused("Invalid IAP credentials: JWT 'email' claim isn't a string")
        assert by_google or claims["sub"] == claims["iss"], claims
        return email

    def _check_audience(self, audience: str, asked: Asked, *, by_google: bool) -> None:
        if by_google:
            fits = audience in {self.client, *self.programmatic_clients}
            expected = self.client
        else:
            expected = f"https://{asked.host}{asked.target}"
            fits = expected.startswith(audience[:-1]) if audience.endswith("*") else audience == expected
        if not fits:
            detail = f"'aud' claim ({audience}) doesn't match expected value ({expected})"
            raise _Refused(f"Invalid IAP credentials: JWT audience doesn't match this application ({detail})")

    def _refusal(self, asked: Asked, text: str) -> Answer:
        takes_redirects = any(kind in (asked.headers["Accept"] or "") for kind in ("text/html", "*/*"))
        if "empty token" not in text or asked.method == "POST" or not takes_redirects:
            return _own(401, text.encode())
        redirect = "https://iap.googleapis.com/v1/oauth/clientIds/" + self.client + ":handleRedirect"
        query = urlencode({"client_id": self.client, "response_type": "code", "redirect_uri": redirect})
        return _own(302, text.encode(), Location=f"https://accounts.google.com/o/oauth2/v2/auth?{query}")

    def _application(self, asked: Asked) -> Answer:
        self.passed.append(asked)
        if not self.upstream:
            return self.answer_of_application
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            connection.request(asked.method, asked.target, asked.body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            return Answer(answer.status, answer.read(), kept)
        finally:
            connection.close()


def _own(status: int, body: bytes, **headers: str) -> Answer:
    mark = {"X-Goog-IAP-Generated-Response": "true", "Content-Type": "text/html; charset=UTF-8", "Alt-Svc": "clear"}
    return Answer(status, body, {**mark, **headers})
