"""`check URL` says what is wrong, with a remedy and an exit code for each kind."""

import pytest

from mlflow_iap import IapAuth
from mlflow_iap.check import Exit, Problem, check
from tests.doubles.google.accounts import ANN, DESKTOP_CLIENT, IAP_CLIENT, JOB, OTHER_CLIENT, Key
from tests.doubles.google.http import Response
from tests.doubles.google.world import HOST, OTHER_HOST, UNTRUSTED, URL, World


@pytest.fixture(autouse=True)
def _token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is well."""
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", str(world.file("job.json", world.accounts.key_file(JOB))))
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", IAP_CLIENT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)


def outcome(world: World, url: str = URL, ahead: float = 0) -> tuple[Exit, str]:
    """(code, all that was said); this machine's clock is `ahead` of Google's by so many seconds."""
    said: list[str] = []

    def now() -> float:
        return world.clock.now() + ahead

    try:
        check(url, IapAuth(now=now, sleep=lambda _: None), lambda step, what: said.append(f"{step}: {what}"), now)
    except Problem as problem:
        return problem.code, "\n".join([*said, f"{problem.step}: {problem}"])
    return Exit.OK, "\n".join(said)


def test_when_all_is_well_each_step_says_so(world: World) -> None:
    code, said = outcome(world)
    assert code == Exit.OK
    assert said.splitlines() == [
        f"connection: {HOST} answers",
        f"IAP: is on, and its OAuth client is {IAP_CLIENT}",
        f"token: by the key {world.folder}/job.json, for {JOB}, good for 60 minutes",
        f"access: IAP lets {JOB} in, and MLflow answers",
    ]


def test_not_a_member(world: World) -> None:
    world.iap.members = {ANN}
    code, said = outcome(world)
    assert code == Exit.NOT_A_MEMBER
    assert f"IAP knows {JOB} and does not let them in" in said
    assert "roles/iap.httpsResourceAccessor" in said


def test_wrong_audience(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", OTHER_CLIENT)
    code, said = outcome(world)
    assert code == Exit.AUDIENCE
    assert f"The token is for {OTHER_CLIENT}: set MLFLOW_IAP_AUDIENCE={IAP_CLIENT}." in said


def test_an_audience_that_is_a_url_of_another_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", HOST)
    for audience in (f"https://{OTHER_HOST}/*", f"https://{HOST}/", f"https://{HOST}"):
        monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", audience)
        code, said = outcome(world)
        assert code == Exit.AUDIENCE
        assert f"The token is for {audience} only: set MLFLOW_IAP_AUDIENCE=https://{HOST}/*." in said


def test_a_missing_audience_is_named_from_iaps_own_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", "")
    code, said = outcome(world)
    assert code == Exit.SETTINGS
    assert "settings: MLFLOW_IAP_AUDIENCE is not set" in said
    assert f"IAP's OAuth client id here is {IAP_CLIENT}." in said


def test_a_client_on_iaps_list_is_left_to_iap_to_judge(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", DESKTOP_CLIENT)
    assert outcome(world)[0] == Exit.AUDIENCE
    world.iap.programmatic_clients.add(DESKTOP_CLIENT)
    assert outcome(world)[0] == Exit.OK


def test_a_key_that_was_deleted(world: World) -> None:
    world.token_endpoint.deleted_keys.add(world.accounts.key_of[JOB].id)
    code, said = outcome(world)
    assert code == Exit.NO_TOKEN
    assert "The key was deleted or has expired: make another" in said


def test_a_key_that_was_deleted_and_signs_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", f"https://{HOST}/*")
    assert outcome(world)[0] == Exit.OK
    world.accounts.key_of[JOB] = Key.new()
    code, said = outcome(world)
    assert code == Exit.REFUSED
    assert "JWT signature is invalid The key that signed it was deleted or has expired." in said


def test_a_wrong_clock(world: World) -> None:
    for ahead, says in ((900, "15 minutes ahead"), (-900, "15 minutes behind")):
        code, said = outcome(world, ahead=ahead)
        assert code == Exit.CLOCK
        assert f"clock is {says}: set it" in said


def test_a_clock_that_is_a_little_off_does_no_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", f"https://{HOST}/*")
    for ahead in (45, -45):
        assert outcome(world, ahead=ahead)[0] == Exit.OK


def test_a_token_that_has_expired(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    assert outcome(world)[0] == Exit.OK
    world.clock.forward(hours=2)
    code, said = outcome(world)
    assert code == Exit.CLOCK
    assert "The token for IAP has expired at" in said


def test_a_token_that_expires_on_the_way_is_iaps_word(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.accounts.lifetime = 200
    token = world.accounts.id_token(IAP_CLIENT, JOB)
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", token)
    # Behind by less than a wrong clock is.
    world.clock.forward(minutes=235 / 60)
    code, said = outcome(world, ahead=-230)
    assert code == Exit.CLOCK
    assert "IAP says: OpenID Connect token expired: JWT has expired" in said


def test_a_token_without_an_email(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_IAP_KEY_FILE")
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB, with_email=False))
    code, said = outcome(world)
    assert code == Exit.REFUSED
    assert "The token has no e-mail, which IAP needs" in said


def test_iap_is_off(world: World) -> None:
    world.iap.on = False
    code, said = outcome(world)
    assert code == Exit.NO_IAP
    assert "answered 200, not by IAP. IAP is off for this service" in said
    assert all("eyJ" not in str(asked.headers) for asked in world.internet.requests_to(HOST))


def test_what_is_behind_iap_fails(world: World) -> None:
    for answer in (Response(503, b"no instance"), Response(403, b'{"message": "viewer"}'), Response(200, b"<html>")):
        world.iap.answer_of_application = answer
        code, said = outcome(world)
        assert code == Exit.BEHIND
        assert f"IAP lets {JOB} in, and what is behind it answers {answer.status}: {answer.body.decode()}" in said


def test_a_host_that_is_not_the_configured_one(world: World) -> None:
    code, said = outcome(world, f"https://{OTHER_HOST}")
    assert code == Exit.SETTINGS
    assert f"{OTHER_HOST} gets no token: MLFLOW_IAP_HOSTS or MLFLOW_TRACKING_URI names {HOST}." in said


def test_plain_http_and_what_is_no_url(world: World) -> None:
    assert outcome(world, f"http://{HOST}") == (
        Exit.SETTINGS,
        f"settings: No token goes to {HOST} over plain http://: use https:// in MLFLOW_TRACKING_URI.",
    )
    assert outcome(world, "mlflow")[0] == Exit.SETTINGS


def test_a_certificate_that_is_not_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", UNTRUSTED)
    code, said = outcome(world, f"https://{UNTRUSTED}")
    assert code == Exit.UNREACHABLE
    assert "TLS fails" in said
    assert "set REQUESTS_CA_BUNDLE" in said


def test_a_name_that_is_not_in_dns_and_a_port_where_nobody_listens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", "no-such-host.invalid, localhost:9")
    code, said = outcome(world, "https://no-such-host.invalid")
    assert code == Exit.UNREACHABLE
    assert "The host's name is not found in DNS" in said
    code, said = outcome(world, "https://localhost:9")
    assert code == Exit.UNREACHABLE
    assert "No connection" in said


def test_who_has_neither_host_nor_credentials_hears_of_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("MLFLOW_IAP_HOSTS", "no-such-host.invalid")
    monkeypatch.setenv("MLFLOW_IAP_KEY_FILE", "no-such-key.json")
    code, said = outcome(world, "https://no-such-host.invalid")
    assert code == Exit.UNREACHABLE
    assert "not found in DNS" in said
    assert "no-such-key.json" in said
