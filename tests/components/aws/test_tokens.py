"""The first admin token: the proxy takes it, nobody sees it by accident, and no update brings a revoked one back."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.aws.tokens import Tokens, first_document
from components.proxy_environment import TOKEN_PREFIX
from preview.graph import Graph
from preview.recorder import SECRET, record
from proxy_app.auth import Principal, Role
from proxy_app.auth.token_store import FileStore
from proxy_app.auth.tokens import Token, TokenAuthenticator, deserialize, serialize
from tests.doubles.request_factory import context

from .admin_token import create_admin_token
from .helpers import KEY, make_deployment, only

VALUE = "aws:secretsmanager/secretVersion:SecretVersion"
KEPT = "aws:secretsmanager/secret:Secret"
NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
NAMES = ("proxy-admin-token", "proxy-tokens")


def recorded(*, days: int = 365, deletion_protection: bool = False, kms_key_arn: str | None = None) -> Graph:
    return record(
        lambda: Tokens(make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn), days=days)
    )


def test_the_proxy_takes_the_first_token_for_an_admins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token, document = create_admin_token(monkeypatch)
    (tmp_path / "tokens.json").write_text(document)

    async def authenticated() -> Principal | None:
        authenticator = TokenAuthenticator(FileStore(tmp_path / "tokens.json"), 60)
        await authenticator.load()
        return await authenticator.authenticate(context({"Authorization": f"Bearer {token}"}))

    principal = asyncio.run(authenticated())
    assert principal is not None
    assert (principal.name, principal.role) == ("admin", Role.ADMIN)


def test_the_document_is_byte_for_byte_as_the_proxy_command_writes_it() -> None:
    token = f"{TOKEN_PREFIX}_k3v9x2ab_{'-_' * 21}a"
    document = first_document(token, 365, NOW)
    (entry,) = deserialize(document, "the test")
    assert serialize([entry]) == document
    assert entry.created == NOW.replace(microsecond=0)
    assert entry.expires - entry.created == timedelta(days=365)


def test_a_made_token_has_the_form_of_the_proxy_own() -> None:
    _, plain = Token.new("somebody", Role.VIEWER, 1)
    # What the two random resources put together, in the letters that they may use.
    graph = recorded()
    id_part = only(graph, "random:index/randomString:RandomString").inputs
    secret_part = only(graph, "random:index/randomPassword:RandomPassword").inputs
    form = (
        f"{TOKEN_PREFIX}_[a-z0-9]{{{id_part['length']}}}_[A-Za-z0-9{secret_part['overrideSpecial']}]"
        f"{{{secret_part['length']}}}"
    )
    assert re.fullmatch(form, plain)
    assert (id_part["upper"], id_part["special"]) == (False, False)


def test_the_token_is_secret_wherever_it_is() -> None:
    graph = recorded()
    assert only(graph, "mlflow:aws:Tokens").outputs["admin_token"] == SECRET
    for name in NAMES:
        value = only(graph, VALUE, name)
        assert value.inputs["secretString"] == SECRET
        assert "secretString" in value.secret_inputs


def test_the_plain_token_and_the_hashes_are_in_secrets_of_their_own() -> None:
    graph = recorded()
    places = {only(graph, VALUE, name).inputs["secretId"] for name in NAMES}
    assert places == {secret.outputs["arn"] for secret in graph.of(KEPT)}
    outputs = only(graph, "mlflow:aws:Tokens").outputs
    assert outputs["hashes_secret_arn"] == only(graph, KEPT, "proxy-tokens").outputs["arn"]
    assert outputs["admin_token_secret_arn"] == only(graph, KEPT, "proxy-admin-token").outputs["arn"]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_written_once(name: str) -> None:
    value = only(recorded(), VALUE, name)
    assert set(value.ignore_changes) == {"secretString", "versionStages"}
    # Without a label of its own, AWS forgets it after two changes, and an update after a refresh would write it again.
    assert set(value.inputs["versionStages"]) - {"AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"}
    assert "AWSCURRENT" in value.inputs["versionStages"]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_goes_with_its_secret(name: str) -> None:
    graph = recorded()
    assert only(graph, VALUE, name).deleted_with == only(graph, KEPT, name).urn


def test_secrets_can_be_brought_back_in_production_only() -> None:
    for protected, days in ((False, 0), (True, 30)):
        for secret in recorded(deletion_protection=protected).of(KEPT):
            assert secret.inputs["recoveryWindowInDays"] == days


def test_secrets_use_the_customers_key() -> None:
    assert {one.inputs["kmsKeyId"] for one in recorded(kms_key_arn=KEY).of(KEPT)} == {KEY}
    assert not any("kmsKeyId" in one.inputs for one in recorded().of(KEPT))


def test_the_proxy_can_wait_for_the_hashes() -> None:
    ready: list[str] = []
    graph = record(lambda: Tokens(make_deployment(), days=1).hashes_ready.urn.apply(ready.append))
    assert ready == [only(graph, VALUE, "proxy-tokens").urn]
