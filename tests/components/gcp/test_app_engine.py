"""The App Engine application, its OAuth client and the placeholder page."""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.gcp import placeholder
from components.gcp.app_engine import AppEngine
from components.gcp.app_settings import AppSettings, OAuthClientSettings
from preview import mock_outputs
from preview.graph import SECRET, Graph, strings_in
from preview.recorder import record

from .helpers import (
    CLIENT_ID,
    HOST,
    NUMBER,
    OAUTH_SECRET,
    PROJECT,
    REGION,
    make_deployment,
    only,
    transitive_dependencies,
)

APPLICATION = "gcp:appengine/application:Application"
PLACEHOLDER = "gcp:appengine/standardAppVersion:StandardAppVersion"
OBJECT = "gcp:storage/bucketObject:BucketObject"
SECRET_TYPE = "gcp:secretmanager/secret:Secret"
SECRET_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
CLIENT_IN_SECRETS = OAuthClientSettings(
    client_id_secret=f"projects/{PROJECT}/secrets/oauth-id",
    client_secret_secret="projects/other-project/secrets/oauth-secret/versions/3",
)
OUTPUTS = ("app_id", "host", "iap_audience", "client_id", "oauth_client_secret")


def record_app_engine(
    *,
    oauth_client: OAuthClientSettings | None = None,
    location: str = "europe-west",
    deletion_protection: bool = False,
    hooks: dict[str, pulumi.ResourceHookBinding | None] | None = None,
    **settings: Any,
) -> tuple[Graph, Mapping[str, Any]]:
    """(graph, the component's outputs). ``hooks`` receives the hooks of resources by type."""
    args = AppSettings(**settings)
    has_client_secret = oauth_client is None and args.mode != "existing"
    if oauth_client is None:
        oauth_client = OAuthClientSettings() if args.mode == "existing" else OAuthClientSettings(client_id=CLIENT_ID)

    def program() -> None:
        def record_hooks(resource_args: pulumi.ResourceTransformationArgs) -> None:
            if hooks is not None:
                hooks[resource_args.type_] = resource_args.opts.hooks

        pulumi.runtime.register_stack_transformation(record_hooks)
        app_engine = AppEngine(
            make_deployment(deletion_protection=deletion_protection),
            args,
            location=location,
            oauth_client=oauth_client,
            oauth_client_secret=OAUTH_SECRET if has_client_secret else None,
            number=NUMBER,
        )
        for name in (*OUTPUTS, "retained_on_destroy"):
            pulumi.export(name, getattr(app_engine, name))

    graph = record(program)
    return graph, graph.outputs


async def is_retried(hooks: pulumi.ResourceHookBinding | None, *errors: str) -> bool:
    """The result of the error hook after a failed operation; errors are newest first."""
    assert hooks is not None
    (hook,) = hooks.on_error or []
    result = hook(pulumi.ErrorHookArgs("urn", "", "name", "type", failed_operation="create", errors=list(errors)))
    return result if isinstance(result, bool) else await result


# --- Application


def test_outputs_name_the_application_and_its_host() -> None:
    _, outputs = record_app_engine()
    assert outputs["app_id"] == PROJECT
    assert outputs["host"] == HOST
    assert outputs["iap_audience"] == f"/projects/{NUMBER}/apps/{PROJECT}"


@pytest.mark.parametrize("mode", ["create", "import"])
def test_managed_application_has_iap_enabled(mode: str) -> None:
    graph, _ = record_app_engine(mode=mode)
    inputs = only(graph, APPLICATION).inputs
    assert inputs["iap"] == {"enabled": True, "oauth2ClientId": CLIENT_ID, "oauth2ClientSecret": SECRET}
    assert (inputs["project"], inputs["locationId"]) == (PROJECT, "europe-west")
    # Separate liveness and readiness checks.
    assert inputs["featureSettings"] == {"splitHealthChecks": True}


@pytest.mark.parametrize("mode", ["create", "import"])
def test_destroy_retains_the_application(mode: str) -> None:
    graph, outputs = record_app_engine(mode=mode)
    application = only(graph, APPLICATION)
    assert application.retain_on_delete
    assert not application.protect
    assert any(
        text.startswith("the App Engine application") and PROJECT in text for text in outputs["retained_on_destroy"]
    )
    assert only(record_app_engine(mode=mode, deletion_protection=True)[0], APPLICATION).protect


def test_import_uses_the_project_id() -> None:
    assert only(record_app_engine(mode="import")[0], APPLICATION).import_id == PROJECT
    assert only(record_app_engine(mode="create")[0], APPLICATION).import_id == ""


def test_application_of_mode_existing_is_only_read() -> None:
    graph, outputs = record_app_engine(mode="existing")
    assert [(resource.type, resource.id, resource.read) for resource in graph.resources if resource.custom] == [
        (APPLICATION, PROJECT, True)
    ]
    assert outputs["retained_on_destroy"] == []
    assert outputs.get("oauth_client_secret") is None


@pytest.mark.parametrize(
    "error",
    [
        "googleapi: Error 409: This application already exists and cannot be re-created., alreadyExists",
        "Error creating App Engine application: it already exists",
    ],
)
def test_error_of_an_existing_application_names_the_modes(error: str) -> None:
    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    record_app_engine(hooks=hooks)
    with pytest.raises(pulumi.RunError) as raised:
        asyncio.run(is_retried(hooks[APPLICATION], error))
    for expected in ("app.mode: import", "app.mode: existing", error):
        assert expected in str(raised.value)


def test_other_creation_errors_are_not_retried() -> None:
    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    record_app_engine(hooks=hooks)
    error = "googleapi: Error 403: The caller does not have permission for 123409123456"
    assert asyncio.run(is_retried(hooks[APPLICATION], error)) is False


def test_error_of_a_wrong_region_names_the_settings() -> None:
    with pytest.raises(pulumi.RunError) as raised:
        record_app_engine(mode="existing", location="us-central")
    for expected in (PROJECT, "is in europe-west", "app.location: europe-west", "region: europe-west1"):
        assert expected in str(raised.value)


@pytest.mark.parametrize("mode", ["create", "import"])
def test_changed_region_is_an_error(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(record_app_engine(mode=mode)[0], APPLICATION).ignore_changes == ("locationId",)

    def in_us(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**mock(name, inputs), "locationId": "us-central"}

    mock = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, in_us)
    with pytest.raises(pulumi.RunError, match="cannot move"):
        record_app_engine(mode=mode)


# --- OAuth client


def test_client_secret_is_stored_in_secret_manager_only() -> None:
    graph, outputs = record_app_engine()
    secret, version = only(graph, SECRET_TYPE), only(graph, SECRET_VERSION)
    assert version.inputs["secretData"] == SECRET
    assert version.inputs["secret"] == secret.id == outputs["oauth_client_secret"]
    # Replicated in the stack's region only.
    assert secret.inputs["replication"] == {"userManaged": {"replicas": [{"location": REGION}]}}
    assert OAUTH_SECRET not in strings_in([(resource.inputs, resource.outputs) for resource in graph.resources])


def test_existing_secrets_are_read_by_project_name_and_version() -> None:
    graph, outputs = record_app_engine(mode="create", oauth_client=CLIENT_IN_SECRETS)
    assert [call.args for call in graph.calls] == [
        {"project": PROJECT, "secret": "oauth-id"},
        {"project": "other-project", "secret": "oauth-secret", "version": "3"},
    ]
    assert graph.of(SECRET_TYPE) == []
    assert outputs["oauth_client_secret"] == "projects/other-project/secrets/oauth-secret"


def test_latest_version_is_read_without_a_version() -> None:
    oauth_client = OAuthClientSettings(
        client_id_secret=f"projects/{PROJECT}/secrets/id/versions/latest",
        client_secret_secret=f"projects/{PROJECT}/secrets/secret",
    )
    assert all("version" not in call.args for call in record_app_engine(oauth_client=oauth_client)[0].calls)


def test_trailing_newline_of_a_secret_is_removed() -> None:
    graph, outputs = record_app_engine(oauth_client=CLIENT_IN_SECRETS)
    # The mock output has a newline.
    assert str(graph.calls[0].result["secretData"]).endswith("\n")
    assert outputs["client_id"] == "what is in oauth-id"
    assert only(graph, APPLICATION).inputs["iap"]["oauth2ClientId"] == "what is in oauth-id"


@pytest.mark.parametrize(
    ("mode", "oauth_client", "client_id"),
    [
        ("create", None, CLIENT_ID),
        ("import", CLIENT_IN_SECRETS, "what is in oauth-id"),
        ("existing", None, f"{NUMBER}-there.apps.googleusercontent.com"),
        ("existing", OAuthClientSettings(client_id=CLIENT_ID), CLIENT_ID),
    ],
)
def test_client_id_is_not_secret(mode: str, oauth_client: OAuthClientSettings | None, client_id: str) -> None:
    assert record_app_engine(mode=mode, oauth_client=oauth_client)[1]["client_id"] == client_id


@pytest.mark.parametrize(
    ("iap", "client_id"),
    [(None, None), ({"enabled": False, "oauth2ClientId": CLIENT_ID}, CLIENT_ID), ({"enabled": False}, None)],
)
def test_existing_application_without_iap_causes_a_warning(
    iap: Mapping[str, Any] | None, client_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_iap(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**mock(name, inputs), "iap": iap}

    assert record_app_engine(mode="existing")[0].messages == []
    mock = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, without_iap)
    graph, outputs = record_app_engine(mode="existing")
    ((level, text),) = graph.messages
    assert (level, "Identity-Aware Proxy is off" in text) == ("WARNING", True)
    assert outputs.get("client_id") == client_id


def test_client_id_from_secret_iap_settings_is_not_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_secret(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        # As the provider returns it (pulumi/sdk/python/lib/pulumi/runtime/rpc.py).
        signature, secret = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
        iap = {
            "enabled": True,
            "oauth2ClientId": CLIENT_ID,
            "oauth2ClientSecret": {signature: secret, "value": "a-client-secret"},
        }
        return {**mock(name, inputs), "iap": iap}

    mock = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, with_secret)
    assert record_app_engine(mode="existing")[1]["client_id"] == CLIENT_ID


# --- Placeholder page


@pytest.mark.parametrize(
    ("settings", "exists"),
    [
        ({}, True),
        ({"placeholder": False}, False),
        ({"service": "default"}, False),
        ({"mode": "import"}, False),
        ({"mode": "import", "placeholder": True}, True),
        ({"mode": "existing"}, False),
        ({"mode": "existing", "placeholder": True}, True),
    ],
)
def test_placeholder_depends_on_mode_and_setting(settings: dict[str, Any], exists: bool) -> None:
    graph, outputs = record_app_engine(**settings)
    assert [version.inputs["service"] for version in graph.of(PLACEHOLDER)] == (["default"] if exists else [])
    assert any("service default" in text for text in outputs["retained_on_destroy"]) is exists


def test_placeholder_scales_to_zero_and_is_retained_on_destroy() -> None:
    inputs = only(record_app_engine()[0], PLACEHOLDER).inputs
    assert inputs["noopOnDestroy"] is True
    assert inputs["instanceClass"] == "F1"
    scaling = inputs["automaticScaling"]
    assert "minIdleInstances" not in scaling
    assert scaling["standardSchedulerSettings"] == {"maxInstances": 1}


def test_placeholder_is_deployed_from_the_uploaded_file() -> None:
    graph, _ = record_app_engine()
    code = only(graph, OBJECT)
    (file,) = only(graph, PLACEHOLDER).inputs["deployment"]["files"]
    bucket = only(graph, "gcp:storage/bucket:Bucket")
    assert file["sourceUrl"] == f"https://storage.googleapis.com/{bucket.outputs['name']}/{code.inputs['name']}"
    assert only(graph, PLACEHOLDER).inputs["entrypoint"]["shell"].endswith(f" {file['name']}")
    # The uploaded code is deleted with the bucket.
    assert bucket.inputs["forceDestroy"] is True
    assert bucket.inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}


def test_changed_placeholder_code_is_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = only(record_app_engine()[0], PLACEHOLDER).inputs["deployment"]
    changed_code = tmp_path / "main.py"
    changed_code.write_text("print('another page')\n")
    monkeypatch.setattr(placeholder, "_CODE", changed_code)
    assert only(record_app_engine()[0], PLACEHOLDER).inputs["deployment"] != before


def test_placeholder_account_has_build_roles_only() -> None:
    graph, _ = record_app_engine()
    placeholder_version = only(graph, PLACEHOLDER)
    iam_members = [resource for resource in graph.resources if "member" in resource.inputs]
    assert {(binding.inputs["role"], binding.inputs.get("bucket")) for binding in iam_members} == {
        ("roles/logging.logWriter", None),
        ("roles/artifactregistry.createOnPushWriter", None),
        ("roles/storage.objectViewer", f"staging.{PROJECT}.appspot.com"),
        ("roles/storage.objectViewer", only(graph, "gcp:storage/bucket:Bucket").outputs["name"]),
    }
    assert {binding.inputs["member"] for binding in iam_members} == {
        f"serviceAccount:{placeholder_version.inputs['serviceAccount']}"
    }
    assert {binding.urn for binding in iam_members} <= transitive_dependencies(graph, placeholder_version)


def test_permission_errors_of_the_build_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    record_app_engine(hooks=hooks)
    permission_error = (
        'Error code 13, message: Failed to create cloud build: invalid bucket "staging.x.appspot.com"; service account '
        "y does not have access to the bucket"
    )
    monkeypatch.setattr(asyncio, "sleep", sleep)
    attempts = 1
    while asyncio.run(is_retried(hooks[PLACEHOLDER], *[permission_error] * attempts)):
        attempts += 1
        assert attempts < 100
    # IAM changes usually take two minutes, and at most seven.
    assert 120 <= sum(waits) <= 420
    assert len(waits) == attempts - 1
    assert not asyncio.run(is_retried(hooks[PLACEHOLDER], "googleapi: Error 400: Invalid runtime", permission_error))


def test_placeholder_responds_404_with_its_entrypoint() -> None:
    graph, _ = record_app_engine()
    command = only(graph, PLACEHOLDER).inputs["entrypoint"]["shell"].split()
    assert command[0] == "python3"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = Path(placeholder.__file__).parent / "placeholder_app"
    with subprocess.Popen(
        [sys.executable, *command[1:]], cwd=folder, env={**os.environ, "PORT": str(port)}, stderr=subprocess.DEVNULL
    ) as process:
        try:
            status, text = get(f"http://127.0.0.1:{port}/anything")
        finally:
            process.terminate()
    assert (status, "MLflow" in text) == (404, True)


def get(url: str) -> tuple[int, str]:
    """(status, body) of a GET request, which waits until the server listens."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
