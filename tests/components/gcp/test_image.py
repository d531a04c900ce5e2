"""The image: built or existing, with its repository."""

import shutil
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.gcp import image as image_module
from components.gcp.image import Image
from components.gcp.settings import ImageSettings
from preview.graph import SECRET, Graph
from preview.recorder import record
from proxy_app import __version__

from .helpers import PROJECT, REGION, make_deployment, only

BUILT = "docker-build:index:Image"
REPOSITORY = "gcp:artifactregistry/repository:Repository"
NAME = f"{REGION}-docker.pkg.dev/{PROJECT}/dev-mlflow-images/mlflow"
DIGEST = f"sha256:{'0' * 64}"
ROOT = Path(__file__).parents[3]


def record_image(*, output_uri: str | None = None, **args: Any) -> tuple[Graph, dict[str, Any]]:
    """(graph, the component's outputs); ``output_uri`` is an image URI as an Output."""
    outputs: dict[str, Any] = {"source": None}

    def program() -> None:
        uri_args = {"image_uri": pulumi.Output.from_input(output_uri)} if output_uri else {}
        image = Image(make_deployment(), ImageSettings(**uri_args, **args))
        image.image_uri.apply(lambda uri: outputs.update(image_uri=uri))
        outputs["repository"] = image.repository
        if image.source_repository is not None:
            pulumi.Output.all(*image.source_repository).apply(lambda source: outputs.update(source=tuple(source)))

    return record(program), outputs


def build_name(**args: Any) -> str:
    """The resource name of the build, which depends on the content of the build context."""
    return only(record_image(**args)[0], BUILT).name


def test_image_uri_has_the_digest() -> None:
    graph, outputs = record_image()
    assert outputs["image_uri"] == f"{NAME}@{only(graph, BUILT).outputs['digest']}"
    assert outputs["source"] == (REGION, "dev-mlflow-images")
    assert outputs["repository"] is not None


def test_build_uses_the_repository_as_context_and_mlflow_apps_dockerfile() -> None:
    inputs = only(record_image()[0], BUILT).inputs
    assert inputs["context"] == {"location": "."}
    assert inputs["dockerfile"] == {"location": "mlflow_app/Dockerfile"}
    assert (ROOT / inputs["dockerfile"]["location"]).is_file()
    assert inputs["push"] is True


def test_preview_builds_nothing() -> None:
    assert only(record_image()[0], BUILT).inputs["buildOnPreview"] is False


def test_build_platform_is_amd64() -> None:
    assert only(record_image()[0], BUILT).inputs["platforms"] == ["linux/amd64"]


def test_build_arguments_follow_the_settings() -> None:
    args = {"base_image": "python:3.12-slim", "package_index_url": "https://pypi.example.com/simple"}
    assert only(record_image(**args)[0], BUILT).inputs["buildArgs"] == {
        "BASE": "python:3.12-slim",
        "PIP_INDEX_URL": "https://pypi.example.com/simple",
        "VERSION": __version__,
    }
    assert only(record_image()[0], BUILT).inputs["buildArgs"] == {"VERSION": __version__}


def test_tag_is_in_the_repository() -> None:
    (tag,) = only(record_image()[0], BUILT).inputs["tags"]
    assert tag.startswith(f"{NAME}:")


@pytest.mark.parametrize(
    "change", [{"base_image": "python:3.12-slim"}, {"package_index_url": "https://pypi.example.com/simple"}]
)
def test_changed_argument_changes_the_build(change: dict[str, Any]) -> None:
    assert build_name(**change) != build_name()


@pytest.mark.parametrize("path", ["mlflow_app/server.py", "mlflow_app/Dockerfile", "proxy_app/auth/iap.py"])
def test_changed_source_changes_the_build(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("mlflow_app", "proxy_app"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    monkeypatch.setattr(image_module, "_CONTEXT", tmp_path)
    before = build_name()
    with (tmp_path / path).open("a") as file:
        file.write("# another\n")
    assert build_name() != before


def test_change_outside_the_context_does_not_change_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("mlflow_app", "proxy_app"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    monkeypatch.setattr(image_module, "_CONTEXT", tmp_path)
    before = build_name()
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/gcp.md").write_text("A page\n")
    assert build_name() == before


def test_registry_password_is_a_secret_access_token() -> None:
    graph, _ = record_image()
    (login,) = only(graph, BUILT).inputs["registries"]
    assert login == {"address": f"{REGION}-docker.pkg.dev", "username": "oauth2accesstoken", "password": SECRET}
    assert [call.token for call in graph.calls] == ["gcp:organizations/getClientConfig:getClientConfig"]


def test_image_is_retained_on_delete() -> None:
    graph, _ = record_image()
    image = only(graph, BUILT)
    assert image.retain_on_delete
    assert image.deleted_with == only(graph, REPOSITORY).urn


def test_cleanup_policies_keep_the_newest_images() -> None:
    inputs = only(record_image(keep_images=3)[0], REPOSITORY).inputs
    policies = {policy["action"]: policy for policy in inputs["cleanupPolicies"]}
    # A KEEP policy alone deletes nothing.
    assert set(policies) == {"KEEP", "DELETE"}
    assert policies["KEEP"]["mostRecentVersions"] == {"keepCount": 3}
    assert policies["DELETE"]["condition"]["tagState"] == "ANY"
    assert inputs["cleanupPolicyDryRun"] is False


def test_tags_are_mutable() -> None:
    # Images with immutable tags cannot be deleted.
    assert "dockerConfig" not in only(record_image()[0], REPOSITORY).inputs


def test_vulnerability_scanning_is_inherited() -> None:
    inputs = only(record_image()[0], REPOSITORY).inputs
    assert inputs["vulnerabilityScanningConfig"] == {"enablementConfig": "INHERITED"}


def test_repository_format_location_and_labels() -> None:
    inputs = only(record_image()[0], REPOSITORY).inputs
    assert (inputs["format"], inputs["location"], inputs["project"]) == ("DOCKER", REGION, PROJECT)
    assert inputs["labels"] == make_deployment().labels


@pytest.mark.parametrize("as_output", [False, True])
@pytest.mark.parametrize("name", ["mlflow", "team/mlflow", "mlflow:3.17"])
def test_existing_image_of_the_project_has_a_source_repository(as_output: bool, name: str) -> None:
    uri = f"europe-docker.pkg.dev/{PROJECT}/images/{name}@{DIGEST}"
    graph, outputs = record_image(output_uri=uri) if as_output else record_image(image_uri=uri)
    assert [resource.type for resource in graph.resources] == ["mlflow:gcp:Image"]
    assert not graph.calls
    assert outputs == {"image_uri": uri, "source": ("europe", "images"), "repository": None}


@pytest.mark.parametrize("registry", ["europe-docker.pkg.dev/other-project/images", "ghcr.io/team"])
def test_existing_image_of_another_registry_has_no_source_repository(registry: str) -> None:
    graph, outputs = record_image(image_uri=f"{registry}/mlflow@{DIGEST}")
    assert [resource.type for resource in graph.resources] == ["mlflow:gcp:Image"]
    assert (outputs["source"], outputs["repository"]) == (None, None)


def test_output_uri_of_another_registry_is_an_error() -> None:
    with pytest.raises(pulumi.RunError, match="must be a plain string"):
        record_image(output_uri=f"ghcr.io/team/mlflow@{DIGEST}")
