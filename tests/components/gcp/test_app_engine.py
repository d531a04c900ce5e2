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
from components.gcp.settings import AppSettings, OAuthClientSettings
from preview import mock_outputs
from preview.graph import SECRET, Graph, texts
from preview.recorder import record

from .helpers import CLIENT_ID, HOST, NUMBER, OAUTH_SECRET, PROJECT, REGION, make_deployment, only, urns_needed_by

APPLICATION = "gcp:appengine/application:Application"
PAGE = "gcp:appengine/standardAppVersion:StandardAppVersion"
OBJECT = "gcp:storage/bucketObject:BucketObject"
KEPT = "gcp:secretmanager/secret:Secret"
VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
BY_NAME = OAuthClientSettings(
    client_id_secret=f"projects/{PROJECT}/secrets/oauth-id",
    client_secret_secret="projects/other-project/secrets/oauth-secret/versions/3",
)
OUTPUTS = ("app_id", "host", "iap_audience", "client_id", "oauth_client_secret")


def recorded(
    *,
    oauth_client: OAuthClientSettings | None = None,
    location: str = "europe-west",
    deletion_protection: bool = False,
    seen: dict[str, pulumi.ResourceHookBinding | None] | None = None,
    **given: Any,
) -> tuple[Graph, Mapping[str, Any]]:
    """(graph, the component's outputs). ``seen`` gets the hooks of resources by type."""
    args = AppSettings(**given)
    given_secret = oauth_client is None and args.mode != "existing"
    if oauth_client is None:
        oauth_client = OAuthClientSettings() if args.mode == "existing" else OAuthClientSettings(client_id=CLIENT_ID)

    def program() -> None:
        def look(made: pulumi.ResourceTransformationArgs) -> None:
            if seen is not None:
                seen[made.type_] = made.opts.hooks

        pulumi.runtime.register_stack_transformation(look)
        box = AppEngine(
            make_deployment(deletion_protection=deletion_protection),
            args,
            location=location,
            oauth_client=oauth_client,
            oauth_client_secret=OAUTH_SECRET if given_secret else None,
            number=NUMBER,
        )
        for name in (*OUTPUTS, "retained_on_destroy"):
            pulumi.export(name, getattr(box, name))

    graph = record(program)
    return graph, graph.outputs


async def tried_again(hooks: pulumi.ResourceHookBinding | None, *errors: str) -> bool:
    """The hook's result after a failed operation; errors are newest first."""
    assert hooks is not None
    (hook,) = hooks.on_error or []
    answer = hook(pulumi.ErrorHookArgs("urn", "", "name", "type", failed_operation="create", errors=list(errors)))
    return answer if isinstance(answer, bool) else await answer


# --- Application


def test_outputs_of_the_application() -> None:
    _, seen = recorded()
    assert seen["app_id"] == PROJECT
    assert seen["host"] == HOST
    assert seen["iap_audience"] == f"/projects/{NUMBER}/apps/{PROJECT}"


@pytest.mark.parametrize("mode", ["create", "import"])
def test_managed_application_has_iap_enabled(mode: str) -> None:
    graph, _ = recorded(mode=mode)
    found = only(graph, APPLICATION).inputs
    assert found["iap"] == {"enabled": True, "oauth2ClientId": CLIENT_ID, "oauth2ClientSecret": SECRET}
    assert (found["project"], found["locationId"]) == (PROJECT, "europe-west")
    # Separate liveness and readiness checks.
    assert found["featureSettings"] == {"splitHealthChecks": True}


@pytest.mark.parametrize("mode", ["create", "import"])
def test_destroy_retains_the_application(mode: str) -> None:
    graph, seen = recorded(mode=mode)
    found = only(graph, APPLICATION)
    assert found.retain_on_delete
    assert not found.protect
    assert any(
        text.startswith("the App Engine application") and PROJECT in text for text in seen["retained_on_destroy"]
    )
    assert only(recorded(mode=mode, deletion_protection=True)[0], APPLICATION).protect


def test_import_uses_the_project_id() -> None:
    assert only(recorded(mode="import")[0], APPLICATION).import_id == PROJECT
    assert only(recorded(mode="create")[0], APPLICATION).import_id == ""


def test_mode_existing_only_reads_the_application() -> None:
    graph, seen = recorded(mode="existing")
    assert [(one.type, one.id, one.read) for one in graph.resources if one.custom] == [(APPLICATION, PROJECT, True)]
    assert seen["retained_on_destroy"] == []
    assert seen.get("oauth_client_secret") is None


@pytest.mark.parametrize(
    "error",
    [
        "googleapi: Error 409: This application already exists and cannot be re-created., alreadyExists",
        "Error creating App Engine application: it already exists",
    ],
)
def test_already_exists_error_names_the_modes(error: str) -> None:
    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    recorded(seen=hooks)
    with pytest.raises(pulumi.RunError) as raised:
        asyncio.run(tried_again(hooks[APPLICATION], error))
    for needed in ("app.mode: import", "app.mode: existing", error):
        assert needed in str(raised.value)


def test_other_creation_errors_are_not_retried() -> None:
    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    recorded(seen=hooks)
    error = "googleapi: Error 403: The caller does not have permission for 123409123456"
    assert asyncio.run(tried_again(hooks[APPLICATION], error)) is False


def test_wrong_region_error_names_the_settings() -> None:
    with pytest.raises(pulumi.RunError) as raised:
        recorded(mode="existing", location="us-central")
    for needed in (PROJECT, "is in europe-west", "app.location: europe-west", "region: europe-west1"):
        assert needed in str(raised.value)


@pytest.mark.parametrize("mode", ["create", "import"])
def test_changed_region_raises_the_same_error(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(recorded(mode=mode)[0], APPLICATION).ignore_changes == ("locationId",)

    def there(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**known(name, inputs), "locationId": "us-central"}

    known = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, there)
    with pytest.raises(pulumi.RunError, match="cannot move"):
        recorded(mode=mode)


# --- OAuth client


def test_client_secret_is_stored_in_secret_manager_only() -> None:
    graph, seen = recorded()
    secret, version = only(graph, KEPT), only(graph, VERSION)
    assert version.inputs["secretData"] == SECRET
    assert version.inputs["secret"] == secret.id == seen["oauth_client_secret"]
    # In the stack's region only.
    assert secret.inputs["replication"] == {"userManaged": {"replicas": [{"location": REGION}]}}
    assert OAUTH_SECRET not in texts([(one.inputs, one.outputs) for one in graph.resources])


def test_existing_secrets_are_read_by_project_name_and_version() -> None:
    graph, seen = recorded(mode="create", oauth_client=BY_NAME)
    assert [call.args for call in graph.calls] == [
        {"project": PROJECT, "secret": "oauth-id"},
        {"project": "other-project", "secret": "oauth-secret", "version": "3"},
    ]
    assert graph.of(KEPT) == []
    assert seen["oauth_client_secret"] == "projects/other-project/secrets/oauth-secret"


def test_latest_version_is_passed_as_none() -> None:
    oauth_client = OAuthClientSettings(
        client_id_secret=f"projects/{PROJECT}/secrets/id/versions/latest",
        client_secret_secret=f"projects/{PROJECT}/secrets/secret",
    )
    assert all("version" not in call.args for call in recorded(oauth_client=oauth_client)[0].calls)


def test_trailing_newline_of_a_secret_is_removed() -> None:
    graph, seen = recorded(oauth_client=BY_NAME)
    # The mock output has one.
    assert str(graph.calls[0].result["secretData"]).endswith("\n")
    assert seen["client_id"] == "what is in oauth-id"
    assert only(graph, APPLICATION).inputs["iap"]["oauth2ClientId"] == "what is in oauth-id"


@pytest.mark.parametrize(
    ("mode", "oauth_client", "client_id"),
    [
        ("create", None, CLIENT_ID),
        ("import", BY_NAME, "what is in oauth-id"),
        ("existing", None, f"{NUMBER}-there.apps.googleusercontent.com"),
        ("existing", OAuthClientSettings(client_id=CLIENT_ID), CLIENT_ID),
    ],
)
def test_client_id_is_not_secret(mode: str, oauth_client: OAuthClientSettings | None, client_id: str) -> None:
    assert recorded(mode=mode, oauth_client=oauth_client)[1]["client_id"] == client_id


@pytest.mark.parametrize(
    ("iap", "client_id"),
    [(None, None), ({"enabled": False, "oauth2ClientId": CLIENT_ID}, CLIENT_ID), ({"enabled": False}, None)],
)
def test_existing_application_without_iap_gives_a_warning(
    iap: Mapping[str, Any] | None, client_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_to_all(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {**known(name, inputs), "iap": iap}

    assert recorded(mode="existing")[0].messages == []
    known = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, open_to_all)
    graph, seen = recorded(mode="existing")
    ((level, text),) = graph.messages
    assert (level, "Identity-Aware Proxy is off" in text) == ("WARNING", True)
    assert seen.get("client_id") == client_id


def test_client_id_from_secret_iap_settings_is_not_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_secret(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        # As the provider returns it (pulumi/sdk/python/lib/pulumi/runtime/rpc.py).
        kind, secret = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
        iap = {"enabled": True, "oauth2ClientId": CLIENT_ID, "oauth2ClientSecret": {kind: secret, "value": "hush"}}
        return {**known(name, inputs), "iap": iap}

    known = mock_outputs.RESOURCES[APPLICATION]
    monkeypatch.setitem(mock_outputs.RESOURCES, APPLICATION, with_secret)
    assert recorded(mode="existing")[1]["client_id"] == CLIENT_ID


# --- Placeholder page


@pytest.mark.parametrize(
    ("given", "there"),
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
def test_placeholder_depends_on_mode_and_setting(given: dict[str, Any], there: bool) -> None:
    graph, seen = recorded(**given)
    assert [one.inputs["service"] for one in graph.of(PAGE)] == (["default"] if there else [])
    assert any("service default" in text for text in seen["retained_on_destroy"]) is there


def test_placeholder_scales_to_zero_and_survives_destroy() -> None:
    found = only(recorded()[0], PAGE).inputs
    assert found["noopOnDestroy"] is True
    assert found["instanceClass"] == "F1"
    scaling = found["automaticScaling"]
    assert "minIdleInstances" not in scaling
    assert scaling["standardSchedulerSettings"] == {"maxInstances": 1}


def test_placeholder_is_deployed_from_the_uploaded_file() -> None:
    graph, _ = recorded()
    made = only(graph, OBJECT)
    (file,) = only(graph, PAGE).inputs["deployment"]["files"]
    bucket = only(graph, "gcp:storage/bucket:Bucket")
    assert file["sourceUrl"] == f"https://storage.googleapis.com/{bucket.outputs['name']}/{made.inputs['name']}"
    assert only(graph, PAGE).inputs["entrypoint"]["shell"].endswith(f" {file['name']}")
    # The uploaded code is deleted with the bucket.
    assert bucket.inputs["forceDestroy"] is True
    assert bucket.inputs["softDeletePolicy"] == {"retentionDurationSeconds": 0}


def test_changed_placeholder_code_is_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = only(recorded()[0], PAGE).inputs["deployment"]
    other = tmp_path / "main.py"
    other.write_text("print('another page')\n")
    monkeypatch.setattr(placeholder, "_CODE", other)
    assert only(recorded()[0], PAGE).inputs["deployment"] != before


def test_placeholder_account_has_build_roles_only() -> None:
    graph, _ = recorded()
    page = only(graph, PAGE)
    rights = [one for one in graph.resources if "member" in one.inputs]
    assert {(one.inputs["role"], one.inputs.get("bucket")) for one in rights} == {
        ("roles/logging.logWriter", None),
        ("roles/artifactregistry.createOnPushWriter", None),
        ("roles/storage.objectViewer", f"staging.{PROJECT}.appspot.com"),
        ("roles/storage.objectViewer", only(graph, "gcp:storage/bucket:Bucket").outputs["name"]),
    }
    assert {one.inputs["member"] for one in rights} == {f"serviceAccount:{page.inputs['serviceAccount']}"}
    assert {one.urn for one in rights} <= urns_needed_by(graph, page)


def test_permission_errors_of_the_build_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    hooks: dict[str, pulumi.ResourceHookBinding | None] = {}
    recorded(seen=hooks)
    refused = (
        'Error code 13, message: Failed to create cloud build: invalid bucket "staging.x.appspot.com"; service account '
        "y does not have access to the bucket"
    )
    monkeypatch.setattr(asyncio, "sleep", sleep)
    tries = 1
    while asyncio.run(tried_again(hooks[PAGE], *[refused] * tries)):
        tries += 1
        assert tries < 100
    # IAM changes usually take two minutes, and seven at most.
    assert 120 <= sum(waits) <= 420
    assert len(waits) == tries - 1
    assert not asyncio.run(tried_again(hooks[PAGE], "googleapi: Error 400: Invalid runtime", refused))


def test_placeholder_runs_with_its_entrypoint() -> None:
    graph, _ = recorded()
    command = only(graph, PAGE).inputs["entrypoint"]["shell"].split()
    assert command[0] == "python3"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = Path(placeholder.__file__).parent / "placeholder_app"
    with subprocess.Popen(
        [sys.executable, *command[1:]], cwd=folder, env={**os.environ, "PORT": str(port)}, stderr=subprocess.DEVNULL
    ) as page:
        try:
            status, text = asked(f"http://127.0.0.1:{port}/anything")
        finally:
            page.terminate()
    assert (status, "MLflow" in text) == (404, True)


def asked(url: str) -> tuple[int, str]:
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
