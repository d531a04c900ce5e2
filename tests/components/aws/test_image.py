"""The proxy's image: built once for each content, found by digest, and never taken from under a running task."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.aws import image as module
from components.aws.image import Image
from components.aws.settings import ImageSettings
from components.validation import SettingsError, validate_args
from preview.aws.mock_outputs import ACCOUNT, REGION
from preview.graph import Graph
from preview.recorder import SECRET, record
from proxy_app import __version__

from .helpers import KEY, make_deployment, only

BUILT = "docker-build:index:Image"
REPOSITORY = "aws:ecr/repository:Repository"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
DIGEST = f"sha256:{'0' * 64}"


def recorded(
    *, deletion_protection: bool = False, kms_key_arn: str | None = None, later: str | None = None, **args: Any
) -> tuple[Graph, str, str | None]:
    """(graph, what tasks run, its repository's ARN); ``later`` is an image URI known only when the program runs."""
    found: list[str] = []
    images: list[Image] = []

    def program() -> None:
        given = {"image_uri": pulumi.Output.from_input(later)} if later else {}
        made = Image(
            make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn),
            ImageSettings(**given, **args),
        )
        images.append(made)
        made.uri.apply(found.append)

    graph = record(program)
    outputs = only(graph, "mlflow:aws:Image").outputs
    assert (images[0].repository_arn is None) == (outputs.get("repository_arn") is None)
    return graph, found[0], outputs.get("repository_arn")


def build(**args: Any) -> str:
    """Its name: another one is another build."""
    return only(recorded(**args)[0], BUILT).name


def test_tasks_run_it_by_digest() -> None:
    _, uri, repository_arn = recorded()
    assert uri.startswith(f"{REGISTRY}/proxy-proxy@sha256:")
    assert repository_arn == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/proxy-proxy"


def test_it_is_built_from_the_proxy_own_folder_and_pushed() -> None:
    inputs = only(recorded()[0], BUILT).inputs
    assert inputs["context"] == {"location": "proxy_app"}
    assert inputs["dockerfile"] == {"location": "proxy_app/Dockerfile"}
    assert Path(inputs["dockerfile"]["location"]).is_file()
    assert inputs["push"] is True


def test_a_preview_builds_nothing() -> None:
    assert only(recorded()[0], BUILT).inputs["buildOnPreview"] is False


@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_it_is_built_for_the_instances_architecture(architecture: str) -> None:
    assert only(recorded(architecture=architecture)[0], BUILT).inputs["platforms"] == [f"linux/{architecture}"]


def test_base_and_package_index_reach_the_build() -> None:
    inputs = only(
        recorded(base_image="python:3.12-slim", package_index_url="https://pypi.example.com/simple")[0], BUILT
    ).inputs
    assert inputs["buildArgs"] == {
        "BASE": "python:3.12-slim",
        "PIP_INDEX_URL": "https://pypi.example.com/simple",
        "VERSION": __version__,
    }
    assert only(recorded()[0], BUILT).inputs["buildArgs"] == {"VERSION": __version__}


def test_its_tag_is_in_the_repository() -> None:
    (tag,) = only(recorded()[0], BUILT).inputs["tags"]
    assert tag.startswith(f"{REGISTRY}/proxy-proxy:")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "amd64"},
        {"base_image": "python:3.12-slim"},
        {"package_index_url": "https://pypi.example.com/simple"},
        # A repository keeps its key: there will be another one, without this image.
        {"kms_key_arn": KEY},
    ],
)
def test_another_argument_is_another_build(change: dict[str, Any]) -> None:
    assert build(**change) != build()


def test_a_changed_proxy_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in ((".dockerignore", ""), ("Dockerfile", "FROM scratch"), ("proxy.py", "one")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "_CONTEXT", tmp_path)
    before = build()
    (tmp_path / "proxy.py").write_text("two")
    assert build() != before


def test_the_registrys_password_is_secret_and_fresh() -> None:
    graph, _, _ = recorded()
    (login,) = only(graph, BUILT).inputs["registries"]
    assert login == {"address": f"{REGISTRY}/proxy-proxy", "username": "AWS", "password": SECRET}
    assert [call.token for call in graph.calls] == ["aws:ecr/getAuthorizationToken:getAuthorizationToken"]


def test_what_runs_is_never_deleted_by_a_newer_build() -> None:
    graph, _, _ = recorded()
    image = only(graph, BUILT)
    assert image.retain_on_delete
    assert image.deleted_with == only(graph, REPOSITORY).urn


def test_tags_are_immutable_and_images_are_scanned() -> None:
    inputs = only(recorded()[0], REPOSITORY).inputs
    assert inputs["imageTagMutability"] == "IMMUTABLE"
    assert inputs["imageScanningConfiguration"] == {"scanOnPush": True}


@pytest.mark.parametrize(
    ("key", "expected"), [(None, {"encryptionType": "AES256"}), (KEY, {"encryptionType": "KMS", "kmsKey": KEY})]
)
def test_the_repository_is_encrypted(key: str | None, expected: dict[str, str]) -> None:
    assert only(recorded(kms_key_arn=key)[0], REPOSITORY).inputs["encryptionConfigurations"] == [expected]


def test_the_repository_goes_with_its_images_in_development_only() -> None:
    assert only(recorded()[0], REPOSITORY).inputs["forceDelete"] is True
    assert only(recorded(deletion_protection=True)[0], REPOSITORY).inputs["forceDelete"] is False


def test_the_repository_keeps_the_newest() -> None:
    policy = json.loads(only(recorded(keep_images=3)[0], "aws:ecr/lifecyclePolicy:LifecyclePolicy").inputs["policy"])
    assert policy == {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3},
                "action": {"type": "expire"},
            }
        ]
    }


@pytest.mark.parametrize("later", [False, True])
def test_an_image_in_ecr_that_is_there_is_pulled_from_its_repository(later: bool) -> None:
    given = f"210987654321.dkr.ecr.us-east-1.amazonaws.com/team/proxy@{DIGEST}"
    graph, uri, repository_arn = recorded(later=given) if later else recorded(image_uri=given)
    assert [one.type for one in graph.resources] == ["mlflow:aws:Image"]
    assert not graph.calls
    assert uri == given
    assert repository_arn == "arn:aws:ecr:us-east-1:210987654321:repository/team/proxy"


def test_an_image_elsewhere_needs_no_rights() -> None:
    given = f"ghcr.io/team/proxy@{DIGEST}"
    graph, uri, repository_arn = recorded(image_uri=given)
    assert [one.type for one in graph.resources] == ["mlflow:aws:Image"]
    assert (uri, repository_arn) == (given, None)


def test_another_resources_image_outside_ecr_is_refused() -> None:
    with pytest.raises(pulumi.RunError, match="outside Amazon ECR must be a plain string"):
        recorded(later=f"ghcr.io/team/proxy@{DIGEST}")


def test_credentials_in_the_package_index_are_refused_and_not_shown() -> None:
    given = {"packageIndexUrl": "https://me:hunter2@pypi.example.com/simple"}
    with pytest.raises(SettingsError, match=r"image\.packageIndexUrl: contains credentials") as caught:
        validate_args(ImageSettings, given, "image", production=False)
    assert "hunter2" not in str(caught.value)
