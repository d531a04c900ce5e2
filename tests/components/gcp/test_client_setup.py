"""The outputs that set up clients."""

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from mlflow_iap.settings import Settings
from preview import mock_outputs
from preview.graph import SECRET

from .helpers import CLIENT_ID, HOST, MINIMAL_ARGS, NUMBER, OAUTH_SECRET, record_stack

URL = f"https://mlflow-dot-{HOST}"
APPLICATION = "gcp:appengine/application:Application"
WITH_ACCOUNT = {"access": {**MINIMAL_ARGS["access"], "clientServiceAccount": True}}
OF_OTHERS = {"app": {"mode": "existing"}, "oauthClient": {}}


def printed(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return record_stack(settings).of("mlflow:index:GcpMlflow")[0].outputs


def pasted(lines: str) -> dict[str, str]:
    """The variables of a shell after these commands, with pip and python stubbed."""
    script = f"pip() {{ :; }}\npython() {{ :; }}\nset -eu\n{lines}\nenv -0"
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    pairs = [one.split("=", 1) for one in done.stdout.split("\0") if "=" in one]
    return {name: value for name, value in pairs if name.startswith("MLFLOW_")}


def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the existing application use Google's own OAuth client, whose ID is unknown."""

    def googles(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**known(name, inputs), "iap": {"enabled": True, "oauth2ClientId": ""}}

    known = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, googles)


def test_commands_set_the_clients_variables() -> None:
    variables = pasted(printed()["client_setup"])
    assert variables == {
        "MLFLOW_TRACKING_URI": URL,
        "MLFLOW_TRACKING_AUTH": "iap",
        "MLFLOW_IAP_AUDIENCE": CLIENT_ID,
    }
    settings = Settings.from_env(variables)
    assert settings.audience == printed()["token_audience"] == CLIENT_ID
    assert not settings.self_signed
    assert [str(one.name) for one in settings.hosts] == [f"mlflow-dot-{HOST}"]


def test_client_service_account_is_impersonated() -> None:
    settings = Settings.from_env(pasted(printed(WITH_ACCOUNT)["client_setup"]))
    assert settings.impersonate_service_account == printed(WITH_ACCOUNT)["client_service_account"]


def test_mode_existing_reads_the_client_id() -> None:
    assert printed(OF_OTHERS)["token_audience"] == f"{NUMBER}-there.apps.googleusercontent.com"


def test_unknown_client_id_gives_a_host_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    no_client(monkeypatch)
    # Different settings, since recorded graphs are cached.
    found = printed({**OF_OTHERS, "labels": {"client": "unknown"}, **WITH_ACCOUNT})
    assert found["token_audience"] == f"{URL}/*"
    settings = Settings.from_env(pasted(found["client_setup"]))
    assert settings.audience == f"{URL}/*"
    assert settings.self_signed


def test_unknown_client_id_gives_impersonators_token_creator(monkeypatch: pytest.MonkeyPatch) -> None:
    no_client(monkeypatch)
    access = {**WITH_ACCOUNT["access"], "clientImpersonators": ["user:ann@example.com"]}
    graph = record_stack({**OF_OTHERS, "labels": {"client": "unknown"}, "access": access})
    roles = {
        one.inputs["role"]
        for one in graph.of("gcp:serviceaccount/iAMMember:IAMMember")
        if one.inputs["member"] == "user:ann@example.com"
    }
    assert roles == {"roles/iam.serviceAccountTokenCreator"}


def test_outputs_are_not_secret() -> None:
    for settings in ({}, WITH_ACCOUNT, OF_OTHERS):
        found = printed(settings)
        assert SECRET not in found.values()
        assert not [value for value in found.values() if OAUTH_SECRET in str(value)]
