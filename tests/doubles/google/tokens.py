"""The endpoints that make tokens: OAuth's token endpoint, the IAM Service Account Credentials API, the metadata server.

https://developers.google.com/identity/protocols/oauth2/service-account (assertions and their errors),
https://developers.google.com/identity/protocols/oauth2/native-app#offline (refresh tokens),
https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts,
https://cloud.google.com/compute/docs/metadata/querying-metadata and
https://cloud.google.com/compute/docs/instances/verifying-instance-identity. Error texts as Google's users report them:
googleapis/google-api-php-client#1501 (the clock), google-github-actions/auth#340 (a missing role).
"""

import json
from typing import Any

import jwt

from .accounts import HOUR, TOKEN_URL, Accounts
from .http import Answer, Asked

_SKEW = 300
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


class TokenEndpoint:
    """https://oauth2.googleapis.com/token. What it answers instead is `faults`, one after the other."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.faults: list[Answer] = []
        self.deleted_keys: set[str] = set()

    def __call__(self, asked: Asked) -> Answer:
        assert (asked.method, asked.target) == ("POST", "/token"), asked
        assert not asked.headers["Authorization"], "credentials that nobody asked for"
        if self.faults:
            return self.faults.pop(0)
        form = asked.form
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", form
        return self._assertion(form["assertion"])

    def _assertion(self, assertion: str) -> Answer:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        key = self._accounts.key_of.get(claims["iss"])
        if key is None:
            return _refusal("invalid_grant", "Invalid grant: account not found")
        kid = jwt.get_unverified_header(assertion)["kid"]
        if kid != key.id or kid in self.deleted_keys:
            return _refusal("invalid_grant", "Invalid JWT Signature.")
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
            return _refusal("invalid_grant", text + "Check your iat and exp values in the JWT claim.")
        if "target_audience" in claims:
            return Answer.of_json({"id_token": self._accounts.id_token(claims["target_audience"], claims["iss"])})
        assert claims["scope"], claims
        return Answer.of_json(_bearer(self._accounts.access_token(claims["iss"])))

    def _refresh(self, form: dict[str, str]) -> Answer:
        client = form["client_id"]
        if self._accounts.client_secrets.get(client) != form["client_secret"]:
            return _refusal("invalid_client", "The OAuth client was not found.", 401)
        known = self._accounts.refresh_tokens.get(form["refresh_token"])
        if known is None or known[1] != client:
            return _refusal("invalid_grant", "Token has been expired or revoked.")
        audience = form.get("audience", client)
        # Only for another client of the same project (github.com/salrashid123/oauth2oidc).
        if audience.split("-")[0] != client.split("-")[0]:
            return _refusal("invalid_audience", "The audience client and the client need to be in the same project.")
        answer = _bearer(self._accounts.access_token(known[0]))
        answer["scope"] = "openid https://www.googleapis.com/auth/userinfo.email"
        return Answer.of_json({**answer, "id_token": self._accounts.id_token(audience, known[0], azp=client)})


class IamCredentials:
    """https://iamcredentials.googleapis.com: generateIdToken and signJwt, for who has the role to."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.faults: list[Answer] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.target.endswith("/allowedLocations"):
            # google-auth asks it beside a federation's first call, and does without.
            return _api_error(404, "NOT_FOUND", "Not found.")
        before, _, method = asked.target.rpartition(":")
        path, _, account = before.rpartition("/")
        assert (asked.method, path) == ("POST", "/v1/projects/-/serviceAccounts"), asked
        assert asked.headers["Content-Type"] == "application/json", asked
        if self.faults:
            return self.faults.pop(0)
        principal = self._accounts.principal_of(asked.bearer)
        if principal is None:
            return _api_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        body = json.loads(asked.body)
        needed = {"generateIdToken": "getOpenIdToken", "signJwt": "signJwt"}[method]
        if (principal, account) not in self._accounts.may_impersonate:
            text = f"Permission 'iam.serviceAccounts.{needed}' denied on resource (or it may not exist)."
            return _api_error(403, "PERMISSION_DENIED", text)
        if method == "generateIdToken":
            with_email = body.get("includeEmail", False)
            return Answer.of_json({"token": self._accounts.id_token(body["audience"], account, with_email=with_email)})
        # "The JWT payload to sign. Must be a serialized JSON object", with an end within 12 hours.
        claims = json.loads(body["payload"])
        assert 0 < claims["exp"] - self._accounts.clock.now() <= 12 * HOUR, claims
        key = self._accounts.key_of[account]
        return Answer.of_json({"keyId": key.id, "signedJwt": key.sign(claims)})


class TokenExchange:
    """https://sts.googleapis.com/v1/token, which takes another issuer's tokens: the `known`, each with whose it is.

    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.known: dict[str, str] = {}

    def __call__(self, asked: Asked) -> Answer:
        assert (asked.method, asked.target) == ("POST", "/v1/token"), asked
        form = asked.form
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange", form
        if form["subject_token"] not in self.known:
            return _refusal("invalid_grant", "The subject token is not known.")
        token = self._accounts.access_token(self.known[form["subject_token"]])
        return Answer.of_json({**_bearer(token), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})


class MetadataServer:
    """Plain HTTP, at GCE_METADATA_HOST; the machine runs as `account`, or as nobody if that is empty."""

    _ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"

    def __init__(self, accounts: Accounts, account: str) -> None:
        self._accounts = accounts
        self.account = account
        self.faults: list[Answer] = []

    def __call__(self, asked: Asked) -> Answer:
        assert asked.method == "GET", asked
        mark = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM", "Content-Type": "application/text"}
        if asked.headers["Metadata-Flavor"] != "Google" or asked.headers["X-Forwarded-For"]:
            return Answer(403, b"Missing Metadata-Flavor:Google header.", mark)
        if asked.path in {"", "/"}:
            return Answer(200, b"0.1/\ncomputeMetadata/\n", mark)
        if self.faults:
            return self.faults.pop(0)
        if asked.path == "/computeMetadata/v1/universe/universe_domain":
            return Answer(200, b"googleapis.com", mark)
        if asked.path == "/computeMetadata/v1/project/project-id":
            return Answer(200, b"team", mark)
        if not self.account:
            return Answer(404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", mark)
        as_json = {**mark, "Content-Type": "application/json"}
        # Under its name too, as google-auth asks once it knows it.
        what = asked.path.replace(f"/{self.account}/", "/default/").removeprefix(self._ACCOUNT)
        if not what and asked.query.get("recursive") == "true":
            details = {"aliases": ["default"], "email": self.account, "scopes": [_CLOUD_PLATFORM]}
            return Answer(200, json.dumps(details).encode(), as_json)
        if what == "token":
            return Answer(200, json.dumps(_bearer(self._accounts.access_token(self.account))).encode(), as_json)
        assert what == "identity", asked
        if "audience" not in asked.query:
            return Answer(400, b"non-empty audience parameter required", mark)
        full = asked.query.get("format") == "full"
        token = self._accounts.id_token(asked.query["audience"], self.account, with_email=full)
        return Answer(200, token.encode(), {**mark, "Content-Type": "text/html"})


def _bearer(access_token: str) -> dict[str, Any]:
    return {"access_token": access_token, "expires_in": HOUR - 1, "token_type": "Bearer"}


def _refusal(error: str, description: str, status: int = 400) -> Answer:
    return Answer.of_json({"error": error, "error_description": description}, status)


def _api_error(code: int, status: str, message: str) -> Answer:
    return Answer.of_json({"error": {"code": code, "message": message, "status": status}}, code)
