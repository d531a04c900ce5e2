"""Tokens: what is stored of them, who is recognised by them, and until when."""

import base64
import hmac
import json
import logging
import re
import string
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.auth import ROLES, Principal, Role
from proxy_app.auth.token_store import EMPTY, FileStore, SecretStore, StoreError
from proxy_app.auth.tokens import Token, TokenAuthenticator, TokenError, deserialize, serialize, token_of
from proxy_app.errors import ApiError
from tests.doubles import fake_upstreams
from tests.doubles.aws_home import empty_aws_home, moto_server
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import request
from tests.doubles.request_factory import context
from tests.doubles.running_proxy import READ, wait_until

from .conftest import StartProxy, StartUpstream

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", fullmatch=True)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(token: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


async def authenticated(authenticator: TokenAuthenticator, authorization: str | None) -> Principal | None:
    headers = {} if authorization is None else {"Authorization": authorization}
    return await authenticator.authenticate(context(headers))


async def refused(authenticator: TokenAuthenticator, authorization: str) -> ApiError:
    with pytest.raises(ApiError) as refusal:
        await authenticated(authenticator, authorization)
    assert (refusal.value.status, refusal.value.error_code) == (401, "UNAUTHENTICATED")
    assert [name for name, _ in refusal.value.headers] == ["WWW-Authenticate", "WWW-Authenticate"]
    return refusal.value


class Kept:
    """A store in memory."""

    name = "the test's store"

    def __init__(self, *tokens: Token) -> None:
        self.document = serialize(tokens)

    def read(self) -> str:
        return self.document

    def update(self, edit: Any) -> None:
        self.document = edit(self.document)


# --- What a token is, and what is kept of it


@given(NAMES, st.sampled_from(ROLES), st.floats(0.001, 3660))
def test_only_a_hash_is_kept_of_a_token(name: str, role: Role, days: float) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    token, plain = Token.new(name, role, days, now)
    assert re.fullmatch(r"mlp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", plain)
    assert token.expires == now + timedelta(days=days)
    document = serialize([token])
    assert plain not in document
    assert plain.partition("_")[2].partition("_")[2] not in document
    assert set(json.loads(document)["tokens"][0]) == {"id", "name", "role", "sha256", "created", "expires"}
    [read] = deserialize(document, "here")
    assert read == Token(token.id, name, role, token.sha256, now, token.expires.replace(microsecond=0))


def test_no_two_tokens_are_alike() -> None:
    made = [Token.new("ci", Role.VIEWER, 1) for _ in range(200)]
    assert len({plain for _, plain in made}) == len({token.id for token, _ in made}) == 200


@pytest.mark.parametrize("name", ["", "-ci", ".ci", "a b", "a\n", "é", "a/b", 'a"b', "a" * 65])
def test_a_name_that_would_garble_a_log_is_refused(name: str) -> None:
    with pytest.raises(TokenError, match="expected up to 64 letters"):
        Token.new(name, Role.VIEWER, 1)


@pytest.mark.parametrize("days", [0, -1, 3660.1, float("nan"), float("inf")])
def test_a_token_expires_some_day(days: float) -> None:
    with pytest.raises(TokenError, match="expected more than 0 and at most 3660"):
        Token.new("ci", Role.VIEWER, days)


# --- Documents

GOOD: dict[str, Any] = json.loads(serialize([Token.new("ci", Role.EDITOR, 1)[0]]))["tokens"][0]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "it is not {"),
        ('{"tokens": {}}', "it is not {"),
        ('{"token": []}', "it is not {"),
        ({**GOOD, "role": "owner"}, "entry 1 is not a token: KeyError 'owner'"),
        ({**GOOD, "role": None}, "entry 1 is not a token"),
        ({**GOOD, "id": "short"}, "id, name or sha256 is malformed"),
        ({**GOOD, "id": ["a"] * 8}, "entry 1 is not a token"),
        ({**GOOD, "id": "ABCDEFGH"}, "id, name or sha256 is malformed"),
        ({**GOOD, "name": ""}, "id, name or sha256 is malformed"),
        ({**GOOD, "name": 5}, "entry 1 is not a token"),
        ({**GOOD, "sha256": "abc"}, "id, name or sha256 is malformed"),
        ({**GOOD, "sha256": GOOD["sha256"].upper() + "\n"}, "id, name or sha256 is malformed"),
        ({**GOOD, "expires": "tomorrow"}, "entry 1 is not a token"),
        ({**GOOD, "expires": 1}, "entry 1 is not a token"),
        ({name: value for name, value in GOOD.items() if name != "expires"}, "KeyError 'expires'"),
        ("5", "it is not {"),
        # Its name may hold nothing random: several processes have to collect the same tests.
        pytest.param([GOOD, GOOD], f"the id '{GOOD['id']}' occurs twice", id="an id occurs twice"),
        ([GOOD, {**GOOD, "id": "aaaaaaaa"}], "the name 'ci' occurs twice"),
        ([GOOD, 5], "entry 2 is not a token"),
    ],
)
def test_a_document_that_is_wrong_anywhere_is_refused_as_a_whole(document: Any, why: str) -> None:
    if not isinstance(document, str):
        document = json.dumps({"tokens": document if isinstance(document, list) else [document]})
    with pytest.raises(TokenError, match=r"The tokens in some/place are invalid: ") as wrong:
        deserialize(document, "some/place")
    assert why in str(wrong.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["tokens", *GOOD]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), JSON, max_size=2), JSON)
def test_no_document_does_more_than_be_refused(changes: dict[str, Any], anything: Any) -> None:
    for document in (anything, {"tokens": anything}, {"tokens": [anything]}, {"tokens": [GOOD | changes]}):
        try:
            tokens = deserialize(json.dumps(document), "here")
        except TokenError:
            continue
        assert deserialize(serialize(tokens), "here") == tokens


# --- Who is recognised


async def test_a_token_is_taken_as_bearer_and_as_the_password_of_any_user() -> None:
    token, plain = Token.new("ci", Role.EDITOR, 1)
    authenticator = TokenAuthenticator(Kept(token), 60)
    async with authenticator.running():
        for authorization in (
            bearer(plain),
            f"bearer {plain}",
            f"BEARER  {plain} ",
            basic(plain),
            basic(plain, ""),
            basic(plain, "someone@example.com"),
            basic(plain, "Ünal"),
            basic(plain).replace("Basic", "bAsIc"),
        ):
            assert await authenticated(authenticator, authorization) == Principal("ci", Role.EDITOR, "token")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer eyJhbGciOi.J9.x",
        "Negotiate abc",
        "Basic",
        "Basic !!!",
        "Basic /w==",
        "Basic " + base64.b64encode(b"user").decode(),
        "Basic " + base64.b64encode(b"user:password").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        bearer("mlp_abcdefgh_" + "x" * 42),
        bearer("mlp_abcdefgh_" + "x" * 44),
        bearer("mlp_ABCDEFGH_" + "x" * 43),
        bearer("mlp_abcdefgh_" + "é" * 43),
        bearer("mlp_abcdefgh_" + "x" * 43 + "\x0b\x0b mlp"),
    ],
)
async def test_what_is_no_token_of_the_proxy_is_left_to_other_ways(authorization: str | None) -> None:
    authenticator = TokenAuthenticator(Kept(Token.new("ci", Role.EDITOR, 1)[0]), 60)
    async with authenticator.running():
        assert await authenticated(authenticator, authorization) is None


@given(st.text(string.printable + "é漢\udcff", max_size=60))
def test_any_header_is_read_or_passed_over(authorization: str) -> None:
    assert isinstance(token_of(authorization), str)
    assert isinstance(token_of(f"Basic {authorization}"), str)


async def test_unknown_revoked_and_wrong_tokens_are_refused_alike() -> None:
    token, plain = Token.new("ci", Role.EDITOR, 1)
    other = Token.new("other", Role.EDITOR, 1)[1]
    authenticator = TokenAuthenticator(Kept(token), 60)
    async with authenticator.running():
        first = plain[-43:]
        wrong = plain[:-43] + ("B" if first[0] == "A" else "A") + first[1:]
        unknown_id = other[:-43] + first
        responses = {
            (await refused(authenticator, show(shown))).message
            for shown in (wrong, unknown_id, other)
            for show in (bearer, basic)
        }
        assert responses == {"Invalid token: it is mistyped, revoked, or of another deployment."}
        assert await authenticated(authenticator, bearer(plain))


async def test_an_unknown_id_takes_the_same_steps_as_a_wrong_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    token, plain = Token.new("ci", Role.EDITOR, 1)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(left: Any, right: Any) -> bool:
        compared.append((len(left), len(right)))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    authenticator = TokenAuthenticator(Kept(token), 60)
    async with authenticator.running():
        unknown = Token.new("other", Role.EDITOR, 1)[1]
        wrong = plain[:-43] + unknown[-43:]
        steps: list[list[tuple[int, int]]] = []
        for shown in (unknown, wrong):
            await refused(authenticator, bearer(shown))
            steps.append(compared.copy())
            compared.clear()
        await authenticated(authenticator, bearer(plain))
        whole = len(sha256().digest())
        assert [*steps, compared] == [[(whole, whole)]] * 3, "the right one too"


async def test_a_token_holds_until_its_end_and_no_second_longer() -> None:
    made = datetime(2026, 11, 22, 10, tzinfo=UTC)
    token, plain = Token.new("ci", Role.VIEWER, 2, made)
    now = token.expires.timestamp() - 1
    authenticator = TokenAuthenticator(Kept(token), 60, lambda: now)
    async with authenticator.running():
        assert await authenticated(authenticator, bearer(plain))
        now += 1
        assert (await refused(authenticator, bearer(plain))).message.startswith("The token 'ci' has expired.")
        assert (await refused(authenticator, basic(plain))).reason == "expired-token"


# --- Changes while the proxy runs


async def test_tokens_come_change_and_go_without_a_restart(tmp_path: Path) -> None:
    (first, first_plain), (second, second_plain) = (
        Token.new("first", Role.VIEWER, 1),
        Token.new("second", Role.ADMIN, 1),
    )
    store = FileStore(tmp_path / "tokens.json")
    store.update(lambda _: serialize([first]))
    authenticator = TokenAuthenticator(store, 0.01)
    async with authenticator.running():
        assert await authenticated(authenticator, bearer(first_plain)) == Principal("first", Role.VIEWER, "token")
        await refused(authenticator, bearer(second_plain))
        store.update(lambda _: serialize([second]))
        await wait_until(lambda: knows(authenticator, second_plain))
        await refused(authenticator, bearer(first_plain))
        demoted = Token(second.id, "second", Role.VIEWER, second.sha256, second.created, second.expires)
        store.update(lambda _: serialize([demoted]))
        await wait_until(lambda: knows(authenticator, second_plain, Role.VIEWER))
        store.update(lambda _: EMPTY)
        await wait_until(lambda: forgets(authenticator, second_plain))


async def knows(authenticator: TokenAuthenticator, plain: str, *roles: Role) -> bool:
    try:
        principal = await authenticated(authenticator, bearer(plain))
    except ApiError:
        return False
    return principal is not None and principal.role in (roles or Role)


async def forgets(authenticator: TokenAuthenticator, plain: str) -> bool:
    return not await knows(authenticator, plain)


@pytest.mark.parametrize(
    ("spoilt", "word"), [("{", "it is not JSON"), ('{"tokens": [5]}', "entry 1"), (None, "does not exist")]
)
async def test_tokens_that_cannot_be_read_leave_those_before_in_force(
    spoilt: str | None, word: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token, plain = Token.new("ci", Role.VIEWER, 1)
    file = tmp_path / "tokens.json"
    file.write_text(serialize([token]))
    readings: list[str] = []

    class Counted(FileStore):
        def read(self) -> str:
            readings.append("")
            return super().read()

    caplog.set_level(logging.INFO)
    authenticator = TokenAuthenticator(Counted(file), 0.01)
    async with authenticator.running():
        read_at = authenticator.loaded_at
        if spoilt is None:
            file.unlink()
        else:
            file.write_text(spoilt)

        def errors() -> list[logging.LogRecord]:
            return [record for record in caplog.records if record.levelno == logging.ERROR]

        await wait_until(lambda: bool(errors()))
        before = len(readings)
        await wait_until(lambda: len(readings) > before + 3)
        [said] = [record.getMessage() for record in errors()]  # once, however often it is read
        assert word in said
        assert str(file) in said
        assert said.endswith("The tokens read before stay valid.")
        assert {record.__dict__["event"] for record in errors()} == {"tokens"}
        assert await authenticated(authenticator, bearer(plain)) == Principal("ci", Role.VIEWER, "token")
        file.write_text(EMPTY)
        await wait_until(lambda: forgets(authenticator, plain))
        assert (authenticator.loaded_at or 0) > (read_at or 0)
        assert [record for record in caplog.records if record.getMessage().endswith("can be read again.")]


async def test_a_proxy_without_tokens_to_read_does_not_start(tmp_path: Path) -> None:
    authenticator = TokenAuthenticator(FileStore(tmp_path / "tokens.json"), 60)
    with pytest.raises(StoreError, match=r"tokens\.json does not exist\. `python -m proxy_app token new"):
        async with authenticator.running():
            pytest.fail("it runs")
    (tmp_path / "tokens.json").write_text("{}")
    with pytest.raises(TokenError, match=r"tokens\.json are invalid"):
        async with authenticator.running():
            pytest.fail("it runs")


@pytest.fixture
def secrets_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Any]:
    """A client of Secrets Manager at moto, which is what the proxy's process finds, too."""
    empty_aws_home(tmp_path, monkeypatch)
    with moto_server() as origin:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", origin)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield botocore.session.Session().create_client("secretsmanager")


async def test_a_token_in_secrets_manager_is_revoked_without_a_restart(
    secrets_manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    token, plain = Token.new("ci", Role.VIEWER, 1)
    secrets_manager.create_secret(Name="proxy/tokens", SecretString=serialize([token]))
    authenticator = TokenAuthenticator(SecretStore("proxy/tokens"), 0.01)
    async with authenticator.running():
        assert await knows(authenticator, plain)
        secrets_manager.put_secret_value(SecretId="proxy/tokens", SecretString="not JSON")
        await wait_until(lambda: "The tokens in the secret proxy/tokens are invalid: it is not JSON" in caplog.text)
        assert await knows(authenticator, plain)
        secrets_manager.put_secret_value(SecretId="proxy/tokens", SecretString=EMPTY)
        await wait_until(lambda: forgets(authenticator, plain))
    assert plain not in caplog.text
    assert token.sha256 not in caplog.text


async def test_of_two_tokens_none_is_taken(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    shown = [f"Authorization: Bearer {token}" for token in (proxy.tokens.viewer, proxy.tokens.admin)]
    for both in (shown, shown[::-1]):
        response = await proxy.send(request("GET", READ, *both))
        assert response.error == (401, "UNAUTHENTICATED")
    assert fake_upstream.connections == 0
