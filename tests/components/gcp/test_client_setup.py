"""The outputs that set up clients."""

import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from mlflow_iap import uploads
from mlflow_iap.settings import Settings
from preview import mock_outputs
from preview.graph import SECRET

from .helpers import CLIENT_ID, HOST, MINIMAL_ARGS, NUMBER, OAUTH_SECRET, record_stack

URL = f"https://mlflow-dot-{HOST}"
APPLICATION = "gcp:appengine/application:Application"
WITH_CLIENT_ACCOUNT = {"access": {**MINIMAL_ARGS["access"], "clientServiceAccount": True}}
EXISTING_APPLICATION = {"app": {"mode": "existing"}, "oauthClient": {}}


def stack_outputs(settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return record_stack(settings).of("mlflow:index:GcpMlflow")[0].outputs


def variables_set_by(lines: str) -> dict[str, str]:
    """The MLFLOW_ variables of a shell after these commands, with pip and python stubbed."""
    script = f"pip() {{ :; }}\npython() {{ :; }}\nset -eu\n{lines}\nenv -0"
    completed = subprocess.run(
        ["bash", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    pairs = [line.split("=", 1) for line in completed.stdout.split("\0") if "=" in line]
    return {name: value for name, value in pairs if name.startswith("MLFLOW_")}


def mock_google_managed_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the existing application use Google's own OAuth client, whose ID is unknown."""

    def with_google_managed_client(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**mock(name, inputs), "iap": {"enabled": True, "oauth2ClientId": ""}}

    mock = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, with_google_managed_client)


def test_commands_set_the_clients_variables() -> None:
    variables = variables_set_by(stack_outputs()["client_setup"])
    assert variables == {
        "MLFLOW_TRACKING_URI": URL,
        "MLFLOW_TRACKING_AUTH": "iap",
        "MLFLOW_IAP_AUDIENCE": CLIENT_ID,
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "16000000",
    }
    settings = Settings.from_env(variables)
    assert uploads.problem(variables, settings.max_request_bytes) == ""
    assert variables[uploads.MINIMUM] == str(settings.max_request_bytes // 2)
    assert settings.audience == stack_outputs()["token_audience"] == CLIENT_ID
    assert not settings.self_signed
    assert [str(host.name) for host in settings.hosts] == [f"mlflow-dot-{HOST}"]


def test_client_service_account_is_impersonated() -> None:
    settings = Settings.from_env(variables_set_by(stack_outputs(WITH_CLIENT_ACCOUNT)["client_setup"]))
    assert settings.impersonate_service_account == stack_outputs(WITH_CLIENT_ACCOUNT)["client_service_account"]


def test_mode_existing_reads_the_client_id() -> None:
    assert stack_outputs(EXISTING_APPLICATION)["token_audience"] == f"{NUMBER}-there.apps.googleusercontent.com"


def test_audience_is_the_host_with_an_unknown_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    mock_google_managed_client(monkeypatch)
    # The labels differ from other tests: recorded graphs are cached by settings.
    outputs = stack_outputs({**EXISTING_APPLICATION, "labels": {"client": "unknown"}, **WITH_CLIENT_ACCOUNT})
    assert outputs["token_audience"] == f"{URL}/*"
    settings = Settings.from_env(variables_set_by(outputs["client_setup"]))
    assert settings.audience == f"{URL}/*"
    assert settings.self_signed


def test_impersonators_get_token_creator_with_an_unknown_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    mock_google_managed_client(monkeypatch)
    access = {**WITH_CLIENT_ACCOUNT["access"], "clientImpersonators": ["user:ann@example.com"]}
    graph = record_stack({**EXISTING_APPLICATION, "labels": {"client": "unknown"}, "access": access})
    roles = {
        binding.inputs["role"]
        for binding in graph.of("gcp:serviceaccount/iAMMember:IAMMember")
        if binding.inputs["member"] == "user:ann@example.com"
    }
    assert roles == {"roles/iam.serviceAccountTokenCreator"}


def test_outputs_are_not_secret() -> None:
    for settings in ({}, WITH_CLIENT_ACCOUNT, EXISTING_APPLICATION):
        outputs = stack_outputs(settings)
        assert SECRET not in outputs.values()
        assert not [value for value in outputs.values() if OAUTH_SECRET in str(value)]
