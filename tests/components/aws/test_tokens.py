"""The initial admin token: format, secrecy, and secret values that later updates do not overwrite."""

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

SECRET_VERSION = "aws:secretsmanager/secretVersion:SecretVersion"
SECRET_RESOURCE = "aws:secretsmanager/secret:Secret"
NOW = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
NAMES = ("proxy-admin-token", "proxy-tokens")


def record_tokens(*, days: int = 365, deletion_protection: bool = False, kms_key_arn: str | None = None) -> Graph:
    return record(
        lambda: Tokens(make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn), days=days)
    )


def test_proxy_authenticates_the_initial_token_as_admin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token, document = create_admin_token(monkeypatch)
    (tmp_path / "tokens.json").write_text(document)

    async def authenticated() -> Principal | None:
        authenticator = TokenAuthenticator(FileStore(tmp_path / "tokens.json"), 60)
        await authenticator.load()
        return await authenticator.authenticate(context({"Authorization": f"Bearer {token}"}))

    principal = asyncio.run(authenticated())
    assert principal is not None
    assert (principal.name, principal.role) == ("admin", Role.ADMIN)


def test_token_document_equals_the_serialization_of_the_proxy() -> None:
    token = f"{TOKEN_PREFIX}_k3v9x2ab_{'-_' * 21}a"
    document = first_document(token, 365, NOW)
    (entry,) = deserialize(document, "the test")
    assert serialize([entry]) == document
    assert entry.created == NOW.replace(microsecond=0)
    assert entry.expires - entry.created == timedelta(days=365)


def test_proxy_tokens_match_the_format_of_the_initial_token() -> None:
    _, plain = Token.new("user", Role.VIEWER, 1)
    # The format that the two random resources produce, with their character sets.
    graph = record_tokens()
    id_part = only(graph, "random:index/randomString:RandomString").inputs
    secret_part = only(graph, "random:index/randomPassword:RandomPassword").inputs
    pattern = (
        f"{TOKEN_PREFIX}_[a-z0-9]{{{id_part['length']}}}_[A-Za-z0-9{secret_part['overrideSpecial']}]"
        f"{{{secret_part['length']}}}"
    )
    assert re.fullmatch(pattern, plain)
    assert (id_part["upper"], id_part["special"]) == (False, False)


def test_token_and_document_are_secret_in_outputs_and_inputs() -> None:
    graph = record_tokens()
    assert only(graph, "mlflow:aws:Tokens").outputs["admin_token"] == SECRET
    for name in NAMES:
        value = only(graph, SECRET_VERSION, name)
        assert value.inputs["secretString"] == SECRET
        assert "secretString" in value.secret_inputs


def test_token_and_hashes_are_in_separate_secrets() -> None:
    graph = record_tokens()
    secret_ids = {only(graph, SECRET_VERSION, name).inputs["secretId"] for name in NAMES}
    assert secret_ids == {secret.outputs["arn"] for secret in graph.of(SECRET_RESOURCE)}
    outputs = only(graph, "mlflow:aws:Tokens").outputs
    assert outputs["hashes_secret_arn"] == only(graph, SECRET_RESOURCE, "proxy-tokens").outputs["arn"]
    assert outputs["admin_token_secret_arn"] == only(graph, SECRET_RESOURCE, "proxy-admin-token").outputs["arn"]


@pytest.mark.parametrize("name", NAMES)
def test_secret_value_is_not_updated_and_has_its_own_staging_label(name: str) -> None:
    value = only(record_tokens(), SECRET_VERSION, name)
    assert set(value.ignore_changes) == {"secretString", "versionStages"}
    # AWS deletes a version without a staging label, and an update after a refresh would then write the value again.
    assert set(value.inputs["versionStages"]) - {"AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"}
    assert "AWSCURRENT" in value.inputs["versionStages"]


@pytest.mark.parametrize("name", NAMES)
def test_secret_version_is_deleted_with_its_secret(name: str) -> None:
    graph = record_tokens()
    assert only(graph, SECRET_VERSION, name).deleted_with == only(graph, SECRET_RESOURCE, name).urn


def test_recovery_window_is_30_days_with_deletion_protection_and_0_without() -> None:
    for protected, days in ((False, 0), (True, 30)):
        for secret in record_tokens(deletion_protection=protected).of(SECRET_RESOURCE):
            assert secret.inputs["recoveryWindowInDays"] == days


def test_secrets_use_the_customer_key() -> None:
    assert {secret.inputs["kmsKeyId"] for secret in record_tokens(kms_key_arn=KEY).of(SECRET_RESOURCE)} == {KEY}
    assert not any("kmsKeyId" in secret.inputs for secret in record_tokens().of(SECRET_RESOURCE))


def test_hashes_ready_is_the_secret_version_of_the_hashes() -> None:
    urns: list[str] = []
    graph = record(lambda: Tokens(make_deployment(), days=1).hashes_ready.urn.apply(urns.append))
    assert urns == [only(graph, SECRET_VERSION, "proxy-tokens").urn]
