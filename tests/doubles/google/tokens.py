"""Fakes of the endpoints that issue tokens: OAuth token endpoint, Service Account Credentials API, metadata server.

https://developers.google.com/identity/protocols/oauth2/service-account (assertions and their errors),
https://developers.google.com/identity/protocols/oauth2/native-app#offline (refresh tokens),
https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts,
https://cloud.google.com/compute/docs/metadata/querying-metadata and
https://cloud.google.com/compute/docs/instances/verifying-instance-identity. Error messages as users report them:
googleapis/google-api-php-client#1501 (the clock), google-github-actions/auth#340 (a missing role).
"""

import json
from typing import Any

import jwt

from .accounts import HOUR, TOKEN_URL, Accounts
from .http import Request, Response

_SKEW = 300
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


class TokenEndpoint:
    """https://oauth2.googleapis.com/token. `faults` are sent first, one per request."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.faults: list[Response] = []
        self.deleted_keys: set[str] = set()

    def __call__(self, request: Request) -> Response:
        assert (request.method, request.target) == ("POST", "/token"), request
        assert not request.headers["Authorization"], "unexpected credentials"
        if self.faults:
            return self.faults.pop(0)
        form = request.form
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", form
        return self._assertion(form["assertion"])

    def _assertion(self, assertion: str) -> Response:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        key = self._accounts.key_of.get(claims["iss"])
        if key is None:
            return _oauth_error("invalid_grant", "Invalid grant: account not found")
        kid = jwt.get_unverified_header(assertion)["kid"]
        if kid != key.id or kid in self.deleted_keys:
            return _oauth_error("invalid_grant", "Invalid JWT Signature.")
        jwt.decode(
            assertion,
            key.private.public_key(),
            ["RS256"],
            options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
        assert claims["aud"] == TOKEN_URL, claims
        now = self._accounts.clock.now()
        if not (claims["iat"] - _SKEW < now < claims["exp"] and claims["exp"] - claims["iat"] <= HOUR):
            text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            return _oauth_error("invalid_grant", text + "Check your iat and exp values in the JWT claim.")
        if "target_audience" in claims:
            return Response.of_json({"id_token": self._accounts.id_token(claims["target_audience"], claims["iss"])})
        assert claims["scope"], claims
        return Response.of_json(_bearer(self._accounts.access_token(claims["iss"])))

    def _refresh(self, form: dict[str, str]) -> Response:
        client = form["client_id"]
        if self._accounts.client_secrets.get(client) != form["client_secret"]:
            return _oauth_error("invalid_client", "The OAuth client was not found.", 401)
        known = self._accounts.refresh_tokens.get(form["refresh_token"])
        if known is None or known[1] != client:
            return _oauth_error("invalid_grant", "Token has been expired or revoked.")
        audience = form.get("audience", client)
        # Google accepts other clients of the same project only (github.com/salrashid123/oauth2oidc).
        if audience.split("-")[0] != client.split("-")[0]:
            return _oauth_error(
                "invalid_audience", "The audience client and the client need to be in the same project."
            )
        response = _bearer(self._accounts.access_token(known[0]))
        response["scope"] = "openid https://www.googleapis.com/auth/userinfo.email"
        return Response.of_json({**response, "id_token": self._accounts.id_token(audience, known[0], azp=client)})


class IamCredentials:
    """https://iamcredentials.googleapis.com: generateIdToken and signJwt for principals that may impersonate."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.faults: list[Response] = []

    def __call__(self, request: Request) -> Response:
        if request.target.endswith("/allowedLocations"):
            # google-auth requests it with the first call of a federated identity, and tolerates an error.
            return _api_error(404, "NOT_FOUND", "Not found.")
        before, _, method = request.target.rpartition(":")
        path, _, account = before.rpartition("/")
        assert (request.method, path) == ("POST", "/v1/projects/-/serviceAccounts"), request
        assert request.headers["Content-Type"] == "application/json", request
        if self.faults:
            return self.faults.pop(0)
        principal = self._accounts.principal_of(request.bearer)
        if principal is None:
            return _api_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        body = json.loads(request.body)
        needed = {"generateIdToken": "getOpenIdToken", "signJwt": "signJwt"}[method]
        if (principal, account) not in self._accounts.may_impersonate:
            text = f"Permission 'iam.serviceAccounts.{needed}' denied on resource (or it may not exist)."
            return _api_error(403, "PERMISSION_DENIED", text)
        if method == "generateIdToken":
            with_email = body.get("includeEmail", False)
            return Response.of_json(
                {"token": self._accounts.id_token(body["audience"], account, with_email=with_email)}
            )
        # "The JWT payload to sign. Must be a serialized JSON object", with `exp` within 12 hours.
        claims = json.loads(body["payload"])
        assert 0 < claims["exp"] - self._accounts.clock.now() <= 12 * HOUR, claims
        key = self._accounts.key_of[account]
        return Response.of_json({"keyId": key.id, "signedJwt": key.sign(claims)})


class TokenExchange:
    """https://sts.googleapis.com/v1/token. `known` maps external tokens to their principals.

    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.known: dict[str, str] = {}

    def __call__(self, request: Request) -> Response:
        assert (request.method, request.target) == ("POST", "/v1/token"), request
        form = request.form
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange", form
        if form["subject_token"] not in self.known:
            return _oauth_error("invalid_grant", "The subject token is not known.")
        token = self._accounts.access_token(self.known[form["subject_token"]])
        return Response.of_json(
            {**_bearer(token), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        )


class MetadataServer:
    """The metadata server, plain HTTP at GCE_METADATA_HOST. `account` is the VM's service account; empty: none."""

    _ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"

    def __init__(self, accounts: Accounts, account: str) -> None:
        self._accounts = accounts
        self.account = account
        self.faults: list[Response] = []

    def __call__(self, request: Request) -> Response:
        assert request.method == "GET", request
        common = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM", "Content-Type": "application/text"}
        if request.headers["Metadata-Flavor"] != "Google" or request.headers["X-Forwarded-For"]:
            return Response(403, b"Missing Metadata-Flavor:Google header.", common)
        if request.path in {"", "/"}:
            return Response(200, b"0.1/\ncomputeMetadata/\n", common)
        if self.faults:
            return self.faults.pop(0)
        if request.path == "/computeMetadata/v1/universe/universe_domain":
            return Response(200, b"googleapis.com", common)
        if request.path == "/computeMetadata/v1/project/project-id":
            return Response(200, b"team", common)
        if not self.account:
            return Response(404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", common)
        as_json = {**common, "Content-Type": "application/json"}
        # After the first request, google-auth uses the account's name in the path.
        key = request.path.replace(f"/{self.account}/", "/default/").removeprefix(self._ACCOUNT)
        if not key and request.query.get("recursive") == "true":
            details = {"aliases": ["default"], "email": self.account, "scopes": [_CLOUD_PLATFORM]}
            return Response(200, json.dumps(details).encode(), as_json)
        if key == "token":
            return Response(200, json.dumps(_bearer(self._accounts.access_token(self.account))).encode(), as_json)
        assert key == "identity", request
        if "audience" not in request.query:
            return Response(400, b"non-empty audience parameter required", common)
        full = request.query.get("format") == "full"
        token = self._accounts.id_token(request.query["audience"], self.account, with_email=full)
        return Response(200, token.encode(), {**common, "Content-Type": "text/html"})


def _bearer(access_token: str) -> dict[str, Any]:
    return {"access_token": access_token, "expires_in": HOUR - 1, "token_type": "Bearer"}


def _oauth_error(error: str, description: str, status: int = 400) -> Response:
    return Response.of_json({"error": error, "error_description": description}, status)


def _api_error(code: int, status: str, message: str) -> Response:
    return Response.of_json({"error": {"code": code, "message": message, "status": status}}, code)
