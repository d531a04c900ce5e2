"""Each source of tokens over many hours, against a simulated IAP that verifies them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from mlflow_iap import IapAuth, SettingsError, TokenError
from tests.doubles.google.accounts import ANN, IAP_CLIENT, JOB, OTHER_CLIENT, Clock
from tests.doubles.google.http import Response
from tests.doubles.google.world import URL, World

from .token_sources import (
    LOGIN_FILE,
    SOURCES,
    URL_AUDIENCE,
    Environ,
    impersonation_by_key,
    impersonation_self_signed,
    key,
    login,
    metadata,
    metadata_self_signed,
)


def set_environment(world: World, monkeypatch: pytest.MonkeyPatch, environ: Environ) -> None:
    for name, value in {"MLFLOW_IAP_AUDIENCE": IAP_CLIENT, "MLFLOW_TRACKING_URI": URL, **environ}.items():
        monkeypatch.setenv(name, value)


def get(auth: IapAuth, session: requests.Session | None = None) -> requests.Response:
    send = session.get if session else requests.get
    return send(URL + "/api/2.0/mlflow/experiments/search", auth=auth, allow_redirects=False, timeout=30)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_requests_of_12_hours_succeed_with_one_token_per_hour(
    source: Callable[[World], Environ], world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(world, monkeypatch, source(world))
    with requests.Session() as session:
        # Every fifth request is in the last five minutes of a token.
        for _ in range(12 * 60 // 14):
            response = get(auth, session)
            assert (response.status_code, response.json()) == (200, {"experiments": []})
            world.clock.forward(minutes=14)
    assert 12 <= len(set(world.iap.received_tokens)) <= 13


def test_token_file_is_read_again_before_expiry(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.file("token", world.accounts.id_token(IAP_CLIENT, JOB) + "\n")
    set_environment(world, monkeypatch, {"MLFLOW_IAP_TOKEN_FILE": str(path), "MLFLOW_IAP_AUDIENCE": ""})
    with requests.Session() as session:
        for minute in range(0, 12 * 60, 4):
            # Every 56 minutes: within the renewal margin, before the token expires.
            if minute % 56 == 0:
                world.file("token", world.accounts.id_token(IAP_CLIENT, JOB))
            assert get(auth, session).status_code == 200
            world.clock.forward(minutes=4)


def test_token_variable_is_used_until_expiry_then_raises_error(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(world, monkeypatch, {"MLFLOW_IAP_TOKEN": world.accounts.id_token(IAP_CLIENT, JOB)})
    assert get(auth).status_code == 200
    world.clock.forward(minutes=59)
    assert get(auth).status_code == 200
    world.clock.forward(minutes=2)
    with pytest.raises(TokenError, match=r"expired at .* UTC; a token is valid for one hour"):
        get(auth)
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    assert get(auth).status_code == 200


@dataclasses.dataclass(frozen=True)
class Failure:
    """A setup that fails, and a pattern of the error's message."""

    setup: Callable[[World], Environ]
    pattern: str
    error: type[Exception] = TokenError


def no_credentials(world: World) -> Environ:
    return {}


def no_audience(world: World) -> Environ:
    return {"MLFLOW_IAP_AUDIENCE": ""}


def deleted_key(world: World) -> Environ:
    world.token_endpoint.deleted_keys.add(world.accounts.key_of[JOB].id)
    return key(world)


def deleted_account(world: World) -> Environ:
    environ = key(world)
    del world.accounts.key_of[JOB]
    return environ


def missing_key_file(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.folder / "nowhere.json")}


def invalid_key_file(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.file("job.json", "{}"))}


def wrong_clock(world: World) -> Environ:
    # Google's clock is ahead of the client's.
    world.accounts.clock = Clock()
    world.accounts.clock.forward(hours=1.1)
    return key(world)


def no_role_to_impersonate(world: World) -> Environ:
    environ = impersonation_by_key(world)
    world.accounts.may_impersonate.clear()
    return environ


def no_role_to_sign(world: World) -> Environ:
    environ = metadata_self_signed(world)
    world.accounts.may_impersonate.clear()
    return environ


def impersonation_without_credentials(world: World) -> Environ:
    return {"MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def metadata_server_without_account(world: World) -> Environ:
    world.metadata.account = ""
    return world.on_google()


def revoked_login(world: World) -> Environ:
    environ = login(world)
    world.accounts.refresh_tokens.clear()
    return environ


def login_with_gcloud_client(world: World) -> Environ:
    world.file(
        LOGIN_FILE, {**world.accounts.sign_in(ANN), "client_id": "764086051850-6qr4p6g.apps.googleusercontent.com"}
    )
    return {}


def login_with_client_of_another_project(world: World) -> Environ:
    world.file(LOGIN_FILE, world.accounts.sign_in(ANN, OTHER_CLIENT))
    return {}


def login_with_url_audience(world: World) -> Environ:
    return {**login(world), "MLFLOW_IAP_AUDIENCE": URL_AUDIENCE}


def federation_without_impersonation(world: World) -> Environ:
    path = world.file("github.json", {"type": "external_account", "audience": "//iam.googleapis.com/pool"})
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def invalid_token(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN": "ya29.access-token"}


def empty_token_file(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN_FILE": str(world.file("token", "\n"))}


def missing_token_file(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN_FILE": str(world.folder / "nowhere")}


def login_without_openid(world: World) -> Environ:
    world.token_endpoint.faults.append(Response.of_json({"access_token": "ya29.x", "expires_in": 3599}))
    return login(world)


def no_metadata_server(world: World) -> Environ:
    # No process listens on this port.
    return {**world.on_google(), "GCE_METADATA_IP": "127.0.0.1:9"}


def gcloud_without_login(world: World) -> Environ:
    return {"MLFLOW_IAP_CREDENTIAL_SOURCE": "gcloud"}


FAILURES = [
    Failure(
        no_credentials,
        "GOOGLE_APPLICATION_CREDENTIALS is not set, no metadata server.* Set MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT",
    ),
    Failure(no_audience, "MLFLOW_IAP_AUDIENCE is not set: set it to IAP's OAuth client id", SettingsError),
    Failure(
        deleted_key,
        r"job\.json gives no token: invalid_grant: Invalid JWT Signature\. The key was deleted or has expired",
    ),
    Failure(deleted_account, "account not found The service account does not exist"),
    Failure(missing_key_file, r"The key .*nowhere\.json gives no token: FileNotFoundError"),
    Failure(invalid_key_file, r"The key .*job\.json gives no token"),
    Failure(wrong_clock, "This machine's clock is wrong"),
    Failure(no_role_to_impersonate, "getOpenIdToken.* Grant .* roles/iam.serviceAccountOpenIdTokenCreator"),
    Failure(no_role_to_sign, "signJwt.* Grant .* itself, roles/iam.serviceAccountTokenCreator"),
    Failure(impersonation_without_credentials, f"Impersonating {JOB} failed: .*default credentials"),
    Failure(metadata_server_without_account, "metadata server gives no token.* has no service account: attach one"),
    Failure(revoked_login, "expired or revoked.* Sign in again: gcloud auth application-default login"),
    Failure(login_with_gcloud_client, "uses gcloud's own OAuth client, which IAP rejects: create a desktop OAuth"),
    Failure(login_with_client_of_another_project, "desktop client must be in the same project"),
    Failure(
        login_with_url_audience, "a user's login, which cannot sign tokens: set MLFLOW_IAP_AUDIENCE", SettingsError
    ),
    Failure(
        federation_without_impersonation,
        "external_account, which can only be used to impersonate: set MLFLOW_IAP_IMPERSONATE",
        SettingsError,
    ),
    Failure(invalid_token, "Not an IAP token: expected a JWT"),
    Failure(empty_token_file, "MLFLOW_IAP_TOKEN_FILE.*: it is empty"),
    Failure(missing_token_file, "No token in the file .*nowhere"),
    Failure(login_without_openid, "lacks the scopes openid and email"),
    Failure(no_metadata_server, "no metadata server"),
    Failure(gcloud_without_login, "for IAP: no login of gcloud .*is missing"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.setup.__name__)
def test_error_names_remedy_and_no_secret(
    failure: Failure, world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(world, monkeypatch, failure.setup(world))
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)  # pyright: ignore
    # Otherwise google.auth.default() searches for a metadata server for ten seconds.
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    with pytest.raises(failure.error, match=f"(?s){failure.pattern}") as raised:
        get(auth)
    for secret in ("PRIVATE KEY", "GOCSPX", "1//", "eyJhbGci", "ya29.access"):
        assert secret not in str(raised.value)
    assert world.iap.received_tokens == []


def test_configured_source_precedes_detected_one(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    login(world)
    world.iap.members = {JOB}
    set_environment(world, monkeypatch, {**metadata(world), **key(world)})
    assert get(auth).status_code == 200
    assert str(auth.source).startswith("the key")


def test_metadata_server_precedes_login_unless_gcloud_is_selected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(world)
    set_environment(world, monkeypatch, metadata(world))
    assert str(IapAuth(now=world.clock.now).source) == "the metadata server"
    monkeypatch.setenv("MLFLOW_IAP_CREDENTIAL_SOURCE", "gcloud")
    assert str(IapAuth(now=world.clock.now).source).startswith("the login")


def test_server_without_metadata_flavor_is_ignored(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.internet.listening(lambda request: Response(200, b"a router's page")) as address:
        set_environment(world, monkeypatch, {**metadata(world), "GCE_METADATA_IP": address})
        with pytest.raises(TokenError, match="no metadata server"):
            get(auth)


def test_google_outage_is_retried_and_hidden_by_valid_token(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(world, monkeypatch, impersonation_self_signed(world))
    world.iam.faults = [Response(503, b"<html>try again</html>"), Response(429), Response(500, b"{}")]
    assert get(auth).status_code == 200
    first = world.clock.now()
    world.clock.forward(minutes=56)
    world.iam.faults = [Response(502)] * 3
    for _ in range(3):
        assert get(auth).status_code == 200
        world.clock.forward(minutes=0.6)
    assert len(set(world.iap.received_tokens)) == 1
    assert get(auth).status_code == 200
    assert len(set(world.iap.received_tokens)) == 2
    assert world.clock.now() - first < 3600


def test_new_key_takes_effect_without_restart(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(world, monkeypatch, key(world))
    assert get(auth).status_code == 200
    old = world.accounts.key_of[JOB]
    world.accounts.key_of[JOB] = type(old).new()
    world.file("job.json", world.accounts.key_file(JOB))
    world.clock.forward(hours=1)
    assert get(auth).status_code == 200


def test_netrc_does_not_replace_token(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password else\n")
    for source in (impersonation_self_signed, login):
        set_environment(world, monkeypatch, {**source(world), "NETRC": str(netrc)})
        world.iap.members = {ANN, JOB}
        assert get(auth).status_code == 200
