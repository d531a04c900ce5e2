"""Tokens: creation, the stored document, authentication, expiry, and reloading while the proxy runs."""

import asyncio
import base64
import dataclasses
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
from proxy_app.metrics import Metrics
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


def basic(token: str, user: str = "any-user") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


async def authenticated(authenticator: TokenAuthenticator, authorization: str | None) -> Principal | None:
    headers = {} if authorization is None else {"Authorization": authorization}
    return await authenticator.authenticate(context(headers))


async def assert_rejected(authenticator: TokenAuthenticator, authorization: str) -> ApiError:
    with pytest.raises(ApiError) as error:
        await authenticated(authenticator, authorization)
    assert (error.value.status, error.value.error_code) == (401, "UNAUTHENTICATED")
    assert [name for name, _ in error.value.headers] == ["WWW-Authenticate", "WWW-Authenticate"]
    return error.value


class MemoryStore:
    """A token store in memory."""

    name = "the test's store"

    def __init__(self, *tokens: Token) -> None:
        self.document = serialize(tokens)

    def read(self) -> str:
        return self.document

    def update(self, edit: Any) -> None:
        self.document = edit(self.document)


# --- Creation


@given(NAMES, st.sampled_from(ROLES), st.floats(0.001, 3660))
def test_document_contains_only_a_hash_of_the_token(name: str, role: Role, days: float) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    token, plaintext = Token.new(name, role, days, now)
    assert re.fullmatch(r"mlp_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", plaintext)
    assert token.expires == now + timedelta(days=days)
    document = serialize([token])
    assert plaintext not in document
    assert plaintext.partition("_")[2].partition("_")[2] not in document
    assert set(json.loads(document)["tokens"][0]) == {"id", "name", "role", "sha256", "created", "expires"}
    [read] = deserialize(document, "here")
    assert read == Token(token.id, name, role, token.sha256, now, token.expires.replace(microsecond=0))


def test_tokens_and_ids_are_unique() -> None:
    created = [Token.new("ci", Role.VIEWER, 1) for _ in range(200)]
    assert len({plaintext for _, plaintext in created}) == len({token.id for token, _ in created}) == 200


@pytest.mark.parametrize("name", ["", "-ci", ".ci", "a b", "a\n", "é", "a/b", 'a"b', "a" * 65])
def test_invalid_name_is_rejected(name: str) -> None:
    with pytest.raises(TokenError, match="expected up to 64 letters"):
        Token.new(name, Role.VIEWER, 1)


@pytest.mark.parametrize("days", [0, -1, 3660.1, float("nan"), float("inf")])
def test_invalid_lifetime_is_rejected(days: float) -> None:
    with pytest.raises(TokenError, match="expected more than 0 and at most 3660"):
        Token.new("ci", Role.VIEWER, days)


# --- Documents

GOOD: dict[str, Any] = json.loads(serialize([Token.new("ci", Role.EDITOR, 1)[0]]))["tokens"][0]


@pytest.mark.parametrize(
    ("document", "reason"),
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
        # An explicit id, since pytest-xdist requires the same ids in all processes and the token's id is random.
        pytest.param([GOOD, GOOD], f"the id '{GOOD['id']}' occurs twice", id="an id occurs twice"),
        ([GOOD, {**GOOD, "id": "aaaaaaaa"}], "the name 'ci' occurs twice"),
        ([GOOD, 5], "entry 2 is not a token"),
    ],
)
def test_document_with_an_invalid_entry_is_rejected(document: Any, reason: str) -> None:
    if not isinstance(document, str):
        document = json.dumps({"tokens": document if isinstance(document, list) else [document]})
    with pytest.raises(TokenError, match=r"The tokens in some/place are invalid: ") as error:
        deserialize(document, "some/place")
    assert reason in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["tokens", *GOOD]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), JSON, max_size=2), JSON)
def test_any_document_is_deserialized_or_raises_token_error(changes: dict[str, Any], anything: Any) -> None:
    for document in (anything, {"tokens": anything}, {"tokens": [anything]}, {"tokens": [GOOD | changes]}):
        try:
            tokens = deserialize(json.dumps(document), "here")
        except TokenError:
            continue
        assert deserialize(serialize(tokens), "here") == tokens


# --- Authentication


async def test_token_is_accepted_as_bearer_and_as_the_basic_password_of_any_user() -> None:
    token, plaintext = Token.new("ci", Role.EDITOR, 1)
    authenticator = TokenAuthenticator(MemoryStore(token), 60)
    async with authenticator.running():
        for authorization in (
            bearer(plaintext),
            f"bearer {plaintext}",
            f"BEARER  {plaintext} ",
            basic(plaintext),
            basic(plaintext, ""),
            basic(plaintext, "someone@example.com"),
            basic(plaintext, "Ünal"),
            basic(plaintext).replace("Basic", "bAsIc"),
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
async def test_other_credentials_are_left_to_other_authenticators(authorization: str | None) -> None:
    authenticator = TokenAuthenticator(MemoryStore(Token.new("ci", Role.EDITOR, 1)[0]), 60)
    async with authenticator.running():
        assert await authenticated(authenticator, authorization) is None


@given(st.text(string.printable + "é漢\udcff", max_size=60))
def test_any_authorization_header_is_parsed_without_an_error(authorization: str) -> None:
    assert isinstance(token_of(authorization), str)
    assert isinstance(token_of(f"Basic {authorization}"), str)


async def test_unknown_and_wrong_tokens_get_the_same_message() -> None:
    token, plaintext = Token.new("ci", Role.EDITOR, 1)
    other = Token.new("other", Role.EDITOR, 1)[1]
    authenticator = TokenAuthenticator(MemoryStore(token), 60)
    async with authenticator.running():
        secret = plaintext[-43:]
        wrong_secret = plaintext[:-43] + ("B" if secret[0] == "A" else "A") + secret[1:]
        unknown_id = other[:-43] + secret
        messages = {
            (await assert_rejected(authenticator, scheme(token_text))).message
            for token_text in (wrong_secret, unknown_id, other)
            for scheme in (bearer, basic)
        }
        assert messages == {"Invalid token: it is mistyped, revoked, or of another deployment."}
        assert await authenticated(authenticator, bearer(plaintext))


async def test_one_hash_comparison_is_made_for_any_token(monkeypatch: pytest.MonkeyPatch) -> None:
    token, plaintext = Token.new("ci", Role.EDITOR, 1)
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def recording_compare(left: Any, right: Any) -> bool:
        compared.append((len(left), len(right)))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", recording_compare)
    authenticator = TokenAuthenticator(MemoryStore(token), 60)
    async with authenticator.running():
        unknown = Token.new("other", Role.EDITOR, 1)[1]
        wrong_secret = plaintext[:-43] + unknown[-43:]
        comparisons: list[list[tuple[int, int]]] = []
        for token_text in (unknown, wrong_secret):
            await assert_rejected(authenticator, bearer(token_text))
            comparisons.append(compared.copy())
            compared.clear()
        await authenticated(authenticator, bearer(plaintext))
        size = len(sha256().digest())
        assert [*comparisons, compared] == [[(size, size)]] * 3, "the valid token is the third"


async def test_token_is_valid_until_it_expires() -> None:
    created = datetime(2026, 11, 22, 10, tzinfo=UTC)
    token, plaintext = Token.new("ci", Role.VIEWER, 2, created)
    now = token.expires.timestamp() - 1
    authenticator = TokenAuthenticator(MemoryStore(token), 60, lambda: now)
    async with authenticator.running():
        assert await authenticated(authenticator, bearer(plaintext))
        now += 1
        assert (await assert_rejected(authenticator, bearer(plaintext))).message.startswith(
            "The token 'ci' has expired."
        )
        assert (await assert_rejected(authenticator, basic(plaintext))).reason == "expired-token"


# --- Reloading


async def test_added_changed_and_removed_tokens_take_effect_without_a_restart(tmp_path: Path) -> None:
    first, first_plaintext = Token.new("first", Role.VIEWER, 1)
    second, second_plaintext = Token.new("second", Role.ADMIN, 1)
    store = FileStore(tmp_path / "tokens.json")
    store.update(lambda _: serialize([first]))
    authenticator = TokenAuthenticator(store, 0.01)
    async with authenticator.running():
        assert await authenticated(authenticator, bearer(first_plaintext)) == Principal("first", Role.VIEWER, "token")
        await assert_rejected(authenticator, bearer(second_plaintext))
        store.update(lambda _: serialize([second]))
        await wait_until(lambda: is_accepted(authenticator, second_plaintext))
        await assert_rejected(authenticator, bearer(first_plaintext))
        demoted = Token(second.id, "second", Role.VIEWER, second.sha256, second.created, second.expires)
        store.update(lambda _: serialize([demoted]))
        await wait_until(lambda: is_accepted(authenticator, second_plaintext, Role.VIEWER))
        store.update(lambda _: EMPTY)
        await wait_until(lambda: is_rejected(authenticator, second_plaintext))


async def is_accepted(authenticator: TokenAuthenticator, plaintext: str, *roles: Role) -> bool:
    try:
        principal = await authenticated(authenticator, bearer(plaintext))
    except ApiError:
        return False
    return principal is not None and principal.role in (roles or Role)


async def is_rejected(authenticator: TokenAuthenticator, plaintext: str) -> bool:
    return not await is_accepted(authenticator, plaintext)


@pytest.mark.parametrize(
    ("content", "word"), [("{", "it is not JSON"), ('{"tokens": [5]}', "entry 1"), (None, "does not exist")]
)
async def test_unreadable_document_leaves_the_earlier_tokens_valid(
    content: str | None, word: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token, plaintext = Token.new("ci", Role.VIEWER, 1)
    file = tmp_path / "tokens.json"
    file.write_text(serialize([token]))
    reads: list[str] = []

    class CountingStore(FileStore):
        def read(self) -> str:
            reads.append("")
            return super().read()

    caplog.set_level(logging.INFO)
    authenticator = TokenAuthenticator(CountingStore(file), 0.01)
    async with authenticator.running():
        loaded_at = authenticator.loaded_at
        if content is None:
            file.unlink()
        else:
            file.write_text(content)

        def errors() -> list[logging.LogRecord]:
            return [record for record in caplog.records if record.levelno == logging.ERROR]

        await wait_until(lambda: bool(errors()))
        before = len(reads)
        await wait_until(lambda: len(reads) > before + 3)
        [message] = [record.getMessage() for record in errors()]  # again after a minute, not at every read
        metrics = Metrics()
        authenticator.add_metrics(metrics)
        assert (metrics.registry.get_sample_value("mlflow_proxy_tokens_read_failures") or 0) > 3
        assert word in message
        assert str(file) in message
        assert message.endswith("The tokens read before stay valid for 3600 seconds.")
        assert {record.__dict__["event"] for record in errors()} == {"tokens"}
        assert await authenticated(authenticator, bearer(plaintext)) == Principal("ci", Role.VIEWER, "token")
        file.write_text(EMPTY)
        await wait_until(lambda: is_rejected(authenticator, plaintext))
        assert (authenticator.loaded_at or 0) > (loaded_at or 0)
        assert [record for record in caplog.records if record.getMessage().endswith("can be read again.")]


async def test_no_token_is_accepted_when_the_last_read_is_longer_ago_than_the_limit(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    token, plaintext = Token.new("ci", Role.VIEWER, 30, datetime.fromtimestamp(now, UTC))
    file = tmp_path / "tokens.json"
    file.write_text(serialize([token]))
    authenticator = TokenAuthenticator(FileStore(file), 0.01, lambda: now, max_age=600)
    metrics = Metrics()
    authenticator.add_metrics(metrics)
    async with authenticator.running():
        file.unlink()
        await wait_until(lambda: (metrics.registry.get_sample_value("mlflow_proxy_tokens_read_failures") or 0) > 1)
        now += 600
        assert await authenticated(authenticator, bearer(plaintext))
        await authenticator.probe()
        now += 1
        assert metrics.registry.get_sample_value("mlflow_proxy_tokens_age_seconds") == 601
        for check in (authenticated(authenticator, bearer(plaintext)), authenticator.probe()):
            with pytest.raises(ApiError) as error:
                await check
            assert (error.value.status, error.value.reason) == (503, "tokens-unavailable")
        file.write_text(serialize([token]))
        await wait_until(lambda: is_accepted(authenticator, plaintext))


@pytest.mark.parametrize("change", ["revoked", "replaced", "demoted"])
async def test_running_response_ends_when_its_token_is_revoked(
    start_upstream: StartUpstream, start_proxy: StartProxy, tmp_path: Path, change: str
) -> None:
    """Another token, and one whose entry is only read again, keep their connections."""
    fake_upstream = await start_upstream(fake_upstreams.stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"))
    revoked, plaintext = Token.new("revoked", Role.VIEWER, 1)
    kept, kept_plaintext = Token.new("kept", Role.VIEWER, 1)
    later = {
        "revoked": [],
        "replaced": [Token.new("revoked", Role.VIEWER, 1)[0]],
        "demoted": [dataclasses.replace(revoked, role=Role.EDITOR)],
    }[change]
    file = tmp_path / "tokens.json"
    file.write_text(serialize([revoked, kept]))
    proxy = await start_proxy(fake_upstream.origin, tokens_file=file, tokens_reload=0.02, body_timeout=60.0)
    async with proxy.connect() as client, proxy.connect() as other:
        await client.send(request("GET", READ, token=plaintext))
        await other.send(request("GET", READ, token=kept_plaintext))
        assert ((await client.head())[0], (await other.head())[0]) == (200, 200)
        file.write_text(serialize([dataclasses.replace(kept, expires=kept.expires + timedelta(1)), *later]))
        async with asyncio.timeout(5):
            await client.closed()
        await wait_until(lambda: len(proxy.lines) == 1)
        assert proxy.in_flight == 1
    [line] = [line for line in proxy.lines if line["principal"] == "revoked"]
    assert (line["status"], line["error"]) == (200, "credentials-revoked")


async def test_missing_or_invalid_tokens_file_is_a_startup_error(tmp_path: Path) -> None:
    authenticator = TokenAuthenticator(FileStore(tmp_path / "tokens.json"), 60)
    with pytest.raises(StoreError, match=r"tokens\.json does not exist\. `python -m proxy_app token new"):
        async with authenticator.running():
            pytest.fail("the authenticator starts")
    (tmp_path / "tokens.json").write_text("{}")
    with pytest.raises(TokenError, match=r"tokens\.json are invalid"):
        async with authenticator.running():
            pytest.fail("the authenticator starts")


@pytest.fixture
def secrets_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Any]:
    """A client of moto's Secrets Manager; the proxy uses it too."""
    empty_aws_home(tmp_path, monkeypatch)
    with moto_server() as origin:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", origin)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield botocore.session.Session().create_client("secretsmanager")


async def test_token_in_secrets_manager_is_revoked_without_a_restart(
    secrets_manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    token, plaintext = Token.new("ci", Role.VIEWER, 1)
    secrets_manager.create_secret(Name="proxy/tokens", SecretString=serialize([token]))
    authenticator = TokenAuthenticator(SecretStore("proxy/tokens"), 0.01)
    async with authenticator.running():
        assert await is_accepted(authenticator, plaintext)
        secrets_manager.put_secret_value(SecretId="proxy/tokens", SecretString="not JSON")
        await wait_until(lambda: "The tokens in the secret proxy/tokens are invalid: it is not JSON" in caplog.text)
        assert await is_accepted(authenticator, plaintext)
        secrets_manager.put_secret_value(SecretId="proxy/tokens", SecretString=EMPTY)
        await wait_until(lambda: is_rejected(authenticator, plaintext))
    assert plaintext not in caplog.text
    assert token.sha256 not in caplog.text


async def test_request_with_two_authorization_headers_is_rejected(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin)
    headers = [f"Authorization: Bearer {token}" for token in (proxy.tokens.viewer, proxy.tokens.admin)]
    for both in (headers, headers[::-1]):
        response = await proxy.send(request("GET", READ, *both))
        assert response.error == (401, "UNAUTHENTICATED")
    assert fake_upstream.connections == 0
