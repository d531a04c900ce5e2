"""The proxy's image: build inputs, tags and digests, the ECR repository, and prebuilt images."""

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

IMAGE = "docker-build:index:Image"
REPOSITORY = "aws:ecr/repository:Repository"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
DIGEST = f"sha256:{'0' * 64}"


def record_image(
    *,
    deletion_protection: bool = False,
    kms_key_arn: str | None = None,
    image_uri_output: str | None = None,
    ui: bool = False,
    **args: Any,
) -> tuple[Graph, str, str | None]:
    """(graph, image URI, repository ARN); ``image_uri_output`` is an image URI that is passed as an output."""
    found: list[str] = []
    images: list[Image] = []

    def program() -> None:
        uri = {"image_uri": pulumi.Output.from_input(image_uri_output)} if image_uri_output else {}
        image = Image(
            make_deployment(deletion_protection=deletion_protection, kms_key_arn=kms_key_arn),
            ImageSettings(**uri, **args),
            ui=ui,
        )
        images.append(image)
        image.uri.apply(found.append)

    graph = record(program)
    outputs = only(graph, "mlflow:aws:Image").outputs
    assert (images[0].repository_arn is None) == (outputs.get("repository_arn") is None)
    return graph, found[0], outputs.get("repository_arn")


def build_name(**args: Any) -> str:
    """The resource name of the image, which differs for each build."""
    return only(record_image(**args)[0], IMAGE).name


def test_image_uri_has_the_digest() -> None:
    _, uri, repository_arn = record_image()
    assert uri.startswith(f"{REGISTRY}/proxy-proxy@sha256:")
    assert repository_arn == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/proxy-proxy"


def test_image_is_built_from_proxy_app_and_pushed() -> None:
    inputs = only(record_image()[0], IMAGE).inputs
    assert inputs["context"] == {"location": "proxy_app"}
    assert inputs["dockerfile"] == {"location": "proxy_app/Dockerfile"}
    assert Path(inputs["dockerfile"]["location"]).is_file()
    assert inputs["push"] is True


def test_image_with_the_ui_is_built_from_mlflow_app() -> None:
    inputs = only(record_image(ui=True)[0], IMAGE).inputs
    assert inputs["context"] == {"location": "."}
    assert inputs["dockerfile"] == {"location": "mlflow_app/Dockerfile"}
    assert Path(inputs["dockerfile"]["location"]).is_file()
    assert build_name(ui=True) != build_name()


def test_preview_does_not_build() -> None:
    assert only(record_image()[0], IMAGE).inputs["buildOnPreview"] is False


@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_platform_is_the_architecture(architecture: str) -> None:
    assert only(record_image(architecture=architecture)[0], IMAGE).inputs["platforms"] == [f"linux/{architecture}"]


def test_build_arguments_have_base_image_and_package_index() -> None:
    inputs = only(
        record_image(base_image="python:3.12-slim", package_index_url="https://pypi.example.com/simple")[0], IMAGE
    ).inputs
    assert inputs["buildArgs"] == {
        "BASE": "python:3.12-slim",
        "PIP_INDEX_URL": "https://pypi.example.com/simple",
        "VERSION": __version__,
    }
    assert only(record_image()[0], IMAGE).inputs["buildArgs"] == {"VERSION": __version__}


def test_tag_is_in_the_repository() -> None:
    (tag,) = only(record_image()[0], IMAGE).inputs["tags"]
    assert tag.startswith(f"{REGISTRY}/proxy-proxy:")


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "amd64"},
        {"base_image": "python:3.12-slim"},
        {"package_index_url": "https://pypi.example.com/simple"},
        # Another key replaces the repository, and the new one does not have the image.
        {"kms_key_arn": KEY},
    ],
)
def test_changed_setting_changes_the_build(change: dict[str, Any]) -> None:
    assert build_name(**change) != build_name()


def test_changed_proxy_file_changes_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "proxy_app"
    folder.mkdir()
    for name, text in ((".dockerignore", ""), ("Dockerfile", "FROM scratch"), ("proxy.py", "one")):
        (folder / name).write_text(text)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    before = build_name()
    (folder / "proxy.py").write_text("two")
    assert build_name() != before


def test_registry_password_is_secret_and_from_an_authorization_token() -> None:
    graph, _, _ = record_image()
    (login,) = only(graph, IMAGE).inputs["registries"]
    assert login == {"address": f"{REGISTRY}/proxy-proxy", "username": "AWS", "password": SECRET}
    assert [call.token for call in graph.calls] == ["aws:ecr/getAuthorizationToken:getAuthorizationToken"]


def test_replaced_image_is_retained_and_deleted_with_its_repository() -> None:
    graph, _, _ = record_image()
    image = only(graph, IMAGE)
    assert image.retain_on_delete
    assert image.deleted_with == only(graph, REPOSITORY).urn


def test_tags_are_immutable_and_images_are_scanned() -> None:
    inputs = only(record_image()[0], REPOSITORY).inputs
    assert inputs["imageTagMutability"] == "IMMUTABLE"
    assert inputs["imageScanningConfiguration"] == {"scanOnPush": True}


@pytest.mark.parametrize(
    ("key", "expected"), [(None, {"encryptionType": "AES256"}), (KEY, {"encryptionType": "KMS", "kmsKey": KEY})]
)
def test_repository_is_encrypted_with_the_customer_key_if_there_is_one(
    key: str | None, expected: dict[str, str]
) -> None:
    assert only(record_image(kms_key_arn=key)[0], REPOSITORY).inputs["encryptionConfigurations"] == [expected]


def test_repository_is_force_deleted_only_without_deletion_protection() -> None:
    assert only(record_image()[0], REPOSITORY).inputs["forceDelete"] is True
    assert only(record_image(deletion_protection=True)[0], REPOSITORY).inputs["forceDelete"] is False


def test_lifecycle_policy_keeps_the_newest_images() -> None:
    policy = json.loads(
        only(record_image(keep_images=3)[0], "aws:ecr/lifecyclePolicy:LifecyclePolicy").inputs["policy"]
    )
    assert policy == {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3},
                "action": {"type": "expire"},
            }
        ]
    }


@pytest.mark.parametrize("as_output", [False, True])
def test_prebuilt_image_in_ecr_has_its_repository_arn(as_output: bool) -> None:
    image_uri = f"210987654321.dkr.ecr.us-east-1.amazonaws.com/team/proxy@{DIGEST}"
    graph, uri, repository_arn = (
        record_image(image_uri_output=image_uri) if as_output else record_image(image_uri=image_uri)
    )
    assert [resource.type for resource in graph.resources] == ["mlflow:aws:Image"]
    assert not graph.calls
    assert uri == image_uri
    assert repository_arn == "arn:aws:ecr:us-east-1:210987654321:repository/team/proxy"


def test_prebuilt_image_outside_ecr_has_no_repository_arn() -> None:
    image_uri = f"ghcr.io/team/proxy@{DIGEST}"
    graph, uri, repository_arn = record_image(image_uri=image_uri)
    assert [resource.type for resource in graph.resources] == ["mlflow:aws:Image"]
    assert (uri, repository_arn) == (image_uri, None)


def test_output_of_an_image_outside_ecr_is_rejected() -> None:
    with pytest.raises(pulumi.RunError, match="outside Amazon ECR must be a plain string"):
        record_image(image_uri_output=f"ghcr.io/team/proxy@{DIGEST}")


def test_credentials_in_the_package_index_are_rejected_and_not_shown() -> None:
    settings = {"packageIndexUrl": "https://me:hunter2@pypi.example.com/simple"}
    with pytest.raises(SettingsError, match=r"image\.packageIndexUrl: contains credentials") as caught:
        validate_args(ImageSettings, settings, "image", production=False)
    assert "hunter2" not in str(caught.value)
