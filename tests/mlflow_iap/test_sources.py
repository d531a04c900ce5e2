"""Each way to a token, against an IAP that verifies it, over many hours."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from mlflow_iap import IapAuth, SettingsError, TokenError
from tests.doubles.google.accounts import ANN, DESKTOP_CLIENT, IAP_CLIENT, JOB, OTHER_CLIENT, ROBOT, Clock
from tests.doubles.google.http import Response
from tests.doubles.google.world import HOST, URL, World

OWN = f"https://{HOST}/*"
LOGIN = ".config/gcloud/application_default_credentials.json"
Environ = dict[str, str]


def metadata(world: World) -> Environ:
    return world.on_google()


def metadata_that_signs(world: World) -> Environ:
    world.accounts.may_impersonate.add((JOB, JOB))
    return {**world.on_google(), "MLFLOW_IAP_AUDIENCE": OWN}


def impersonation_by_a_key(world: World) -> Environ:
    world.accounts.may_impersonate.add((ROBOT, JOB))
    path = world.file("robot.json", world.accounts.key_file(ROBOT))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_that_signs(world: World) -> Environ:
    return {**impersonation_by_a_key(world), "MLFLOW_IAP_AUDIENCE": OWN}


def impersonation_on_googles_machine(world: World) -> Environ:
    world.metadata.account = ROBOT
    world.accounts.may_impersonate.add((ROBOT, JOB))
    return {**world.on_google(), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_by_a_person(world: World) -> Environ:
    world.accounts.may_impersonate.add((ANN, JOB))
    world.file(LOGIN, world.accounts.sign_in(ANN))
    return {"MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_by_federation(world: World) -> Environ:
    """As a job of GitHub's does it."""
    world.token_exchange.known["a token of GitHub's"] = "principal://github"
    world.accounts.may_impersonate.add(("principal://github", JOB))
    credentials = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/providers/github",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(world.file("github-token", "a token of GitHub's"))},
    }
    path = world.file("github.json", credentials)
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def gclouds_impersonation(world: World) -> Environ:
    """`gcloud auth application-default login --impersonate-service-account`."""
    world.accounts.may_impersonate.add((ANN, JOB))
    base = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    credentials: dict[str, Any] = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": f"{base}{JOB}:generateAccessToken",
        "delegates": [],
        "source_credentials": world.accounts.sign_in(ANN),
    }
    world.file(LOGIN, credentials)
    return {}


def gclouds_impersonation_that_signs(world: World) -> Environ:
    return {**gclouds_impersonation(world), "MLFLOW_IAP_AUDIENCE": OWN}


def key(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.file("job.json", world.accounts.key_file(JOB)))}


def key_that_signs(world: World) -> Environ:
    return {**key(world), "MLFLOW_IAP_AUDIENCE": OWN}


def key_as_google_takes_it(world: World) -> Environ:
    path = world.file("job.json", world.accounts.key_file(JOB))
    return {**world.on_google(), "GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def login(world: World) -> Environ:
    world.iap.members = {ANN}
    world.file(LOGIN, world.accounts.sign_in(ANN))
    return {}


def login_by_a_client_on_the_list(world: World) -> Environ:
    world.iap.programmatic_clients.add(DESKTOP_CLIENT)
    return {**login(world), "MLFLOW_IAP_AUDIENCE": DESKTOP_CLIENT}


WAYS: list[Callable[[World], Environ]] = [
    metadata,
    metadata_that_signs,
    impersonation_by_a_key,
    impersonation_that_signs,
    impersonation_on_googles_machine,
    impersonation_by_a_person,
    impersonation_by_federation,
    gclouds_impersonation,
    gclouds_impersonation_that_signs,
    key,
    key_that_signs,
    key_as_google_takes_it,
    login,
    login_by_a_client_on_the_list,
]


def enter(world: World, monkeypatch: pytest.MonkeyPatch, environ: Environ) -> None:
    for name, value in {"MLFLOW_IAP_AUDIENCE": IAP_CLIENT, "MLFLOW_TRACKING_URI": URL, **environ}.items():
        monkeypatch.setenv(name, value)


def get(auth: IapAuth, session: requests.Session | None = None) -> requests.Response:
    send = session.get if session else requests.get
    return send(URL + "/api/2.0/mlflow/experiments/search", auth=auth, allow_redirects=False, timeout=30)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_request_of_half_a_day_passes_with_a_token_an_hour(
    way: Callable[[World], Environ], world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(world, monkeypatch, way(world))
    with requests.Session() as session:
        # The fifth is in the last five minutes of a token.
        for _ in range(12 * 60 // 14):
            answer = get(auth, session)
            assert (answer.status_code, answer.json()) == (200, {"experiments": []})
            world.clock.forward(minutes=14)
    assert 12 <= len(set(world.iap.seen)) <= 13


def test_a_file_that_something_keeps_fresh_is_read_in_time(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.file("token", world.accounts.id_token(IAP_CLIENT, JOB) + "\n")
    enter(world, monkeypatch, {"MLFLOW_IAP_TOKEN_FILE": str(path), "MLFLOW_IAP_AUDIENCE": ""})
    with requests.Session() as session:
        for minute in range(0, 12 * 60, 4):
            # Every 56 minutes: later than the client would like it, but before the end.
            if minute % 56 == 0:
                world.file("token", world.accounts.id_token(IAP_CLIENT, JOB))
            assert get(auth, session).status_code == 200
            world.clock.forward(minutes=4)


def test_a_token_in_a_variable_is_good_for_its_hour_and_then_the_error_says_what_to_do(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(world, monkeypatch, {"MLFLOW_IAP_TOKEN": world.accounts.id_token(IAP_CLIENT, JOB)})
    assert get(auth).status_code == 200
    world.clock.forward(minutes=59)
    assert get(auth).status_code == 200
    world.clock.forward(minutes=2)
    with pytest.raises(TokenError, match=r"expired at .* UTC; a token lasts an hour"):
        get(auth)
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    assert get(auth).status_code == 200


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A way that does not work, and what the error says."""

    way: Callable[[World], Environ]
    says: str
    error: type[Exception] = TokenError


def nothing(world: World) -> Environ:
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


def no_key_there(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.folder / "nowhere.json")}


def not_a_key(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.file("job.json", "{}"))}


def wrong_clock(world: World) -> Environ:
    # Google's is an hour ahead of ours.
    world.accounts.clock = Clock()
    world.accounts.clock.forward(hours=1.1)
    return key(world)


def no_role_to_impersonate(world: World) -> Environ:
    environ = impersonation_by_a_key(world)
    world.accounts.may_impersonate.clear()
    return environ


def no_role_to_sign(world: World) -> Environ:
    environ = metadata_that_signs(world)
    world.accounts.may_impersonate.clear()
    return environ


def nobody_to_impersonate_by(world: World) -> Environ:
    return {"MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def machine_without_an_account(world: World) -> Environ:
    world.metadata.account = ""
    return world.on_google()


def revoked_login(world: World) -> Environ:
    environ = login(world)
    world.accounts.refresh_tokens.clear()
    return environ


def login_by_gclouds_own_client(world: World) -> Environ:
    world.file(LOGIN, {**world.accounts.sign_in(ANN), "client_id": "764086051850-6qr4p6g.apps.googleusercontent.com"})
    return {}


def login_by_a_client_of_another_project(world: World) -> Environ:
    world.file(LOGIN, world.accounts.sign_in(ANN, OTHER_CLIENT))
    return {}


def login_that_should_sign(world: World) -> Environ:
    return {**login(world), "MLFLOW_IAP_AUDIENCE": OWN}


def federation_alone(world: World) -> Environ:
    path = world.file("github.json", {"type": "external_account", "audience": "//iam.googleapis.com/pool"})
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def not_a_token(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN": "ya29.access-token"}


def empty_file(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN_FILE": str(world.file("token", "\n"))}


def no_file(world: World) -> Environ:
    return {"MLFLOW_IAP_TOKEN_FILE": str(world.folder / "nowhere")}


def login_without_openid(world: World) -> Environ:
    world.token_endpoint.faults.append(Response.of_json({"access_token": "ya29.x", "expires_in": 3599}))
    return login(world)


def no_metadata_server(world: World) -> Environ:
    # Nobody listens there.
    return {**world.on_google(), "GCE_METADATA_IP": "127.0.0.1:9"}


def metadata_that_is_not_there(world: World) -> Environ:
    return {"MLFLOW_IAP_CREDENTIAL_SOURCE": "login"}


FAILURES = [
    Wrong(nothing, "GOOGLE_APPLICATION_CREDENTIALS is not set, there is no metadata server.* Set MLFLOW_IAP_SERVICE"),
    Wrong(no_audience, "MLFLOW_IAP_AUDIENCE is not set: IAP's OAuth client id", SettingsError),
    Wrong(deleted_key, r"job\.json: invalid_grant: Invalid JWT Signature\. The key was deleted or has expired"),
    Wrong(deleted_account, "account not found The service account is gone"),
    Wrong(no_key_there, r"No token by the key .*nowhere\.json: FileNotFoundError"),
    Wrong(not_a_key, r"No token by the key .*job\.json"),
    Wrong(wrong_clock, "This machine's clock is wrong"),
    Wrong(no_role_to_impersonate, "getOpenIdToken.* Grant roles/iam.serviceAccountOpenIdTokenCreator"),
    Wrong(no_role_to_sign, "signJwt.* Grant roles/iam.serviceAccountTokenCreator .* itself included"),
    Wrong(nobody_to_impersonate_by, f"{JOB} cannot be impersonated: .*default credentials"),
    Wrong(machine_without_an_account, "metadata server gives no token.* has no service account: give it one"),
    Wrong(revoked_login, "expired or revoked.* Sign in again: gcloud auth application-default login"),
    Wrong(login_by_gclouds_own_client, "by gcloud's own client, which IAP does not take: make a desktop OAuth"),
    Wrong(login_by_a_client_of_another_project, "desktop client must be of the same project"),
    Wrong(login_that_should_sign, "a person's login, which signs no tokens: set MLFLOW_IAP_AUDIENCE", SettingsError),
    Wrong(federation_alone, "external_account, which can only impersonate: set MLFLOW_IAP_SERVICE", SettingsError),
    Wrong(not_a_token, "not a token for IAP: it takes a JWT"),
    Wrong(empty_file, "MLFLOW_IAP_TOKEN_FILE.*: it is empty"),
    Wrong(no_file, "No token in the file .*nowhere"),
    Wrong(login_without_openid, "made without the scopes openid and email"),
    Wrong(no_metadata_server, "there is no metadata server here"),
    Wrong(metadata_that_is_not_there, "for IAP: nobody has signed in by gcloud .*is missing"),
]


@pytest.mark.parametrize("wrong", FAILURES, ids=lambda wrong: wrong.way.__name__)
def test_the_error_names_what_is_missing_and_what_to_do_and_no_secret(
    wrong: Wrong, world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(world, monkeypatch, wrong.way(world))
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)  # pyright: ignore
    # google.auth.default() would look for a metadata server for ten seconds.
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    with pytest.raises(wrong.error, match=f"(?s){wrong.says}") as raised:
        get(auth)
    for secret in ("PRIVATE KEY", "GOCSPX", "1//", "eyJhbGci", "ya29.access"):
        assert secret not in str(raised.value)
    assert world.iap.seen == []


def test_what_a_setting_names_comes_before_what_is_found(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(world)
    world.iap.members = {JOB}
    enter(world, monkeypatch, {**metadata(world), **key(world)})
    assert get(auth).status_code == 200
    assert str(auth.source).startswith("the key")


def test_the_metadata_server_comes_before_a_login_unless_the_login_is_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(world)
    enter(world, monkeypatch, metadata(world))
    assert str(IapAuth(now=world.clock.now).source) == "the metadata server"
    monkeypatch.setenv("MLFLOW_IAP_CREDENTIAL_SOURCE", "login")
    assert str(IapAuth(now=world.clock.now).source).startswith("the login")


def test_something_else_at_the_metadata_servers_address_is_not_believed(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.internet.listening(lambda asked: Response(200, b"a router's page")) as address:
        enter(world, monkeypatch, {**metadata(world), "GCE_METADATA_IP": address})
        with pytest.raises(TokenError, match="there is no metadata server here"):
            get(auth)


def test_an_outage_of_googles_is_waited_out_and_not_noticed_while_a_token_is_good(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(world, monkeypatch, impersonation_that_signs(world))
    world.iam.faults = [Response(503, b"<html>try again</html>"), Response(429), Response(500, b"{}")]
    assert get(auth).status_code == 200
    first = world.clock.now()
    world.clock.forward(minutes=56)
    world.iam.faults = [Response(502)] * 3
    for _ in range(3):
        assert get(auth).status_code == 200
        world.clock.forward(minutes=0.6)
    assert len(set(world.iap.seen)) == 1
    assert get(auth).status_code == 200
    assert len(set(world.iap.seen)) == 2
    assert world.clock.now() - first < 3600


def test_a_new_key_takes_over_without_a_restart(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(world, monkeypatch, key(world))
    assert get(auth).status_code == 200
    old = world.accounts.key_of[JOB]
    world.accounts.key_of[JOB] = type(old).new()
    world.file("job.json", world.accounts.key_file(JOB))
    world.clock.forward(hours=1)
    assert get(auth).status_code == 200


def test_a_netrc_puts_nothing_in_a_tokens_place(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    for way in (impersonation_that_signs, login):
        enter(world, monkeypatch, {**way(world), "NETRC": str(netrc)})
        world.iap.members = {ANN, JOB}
        assert get(auth).status_code == 200
