"""Tags of pushed images: unique for each run, including runs that failed after the push."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
import pulumi_random as random
import pytest

from components import built_image as module
from components.built_image import Build, Registry, built_image
from preview.graph import Resource
from preview.recorder import record

IMAGE = "docker-build:index:Image"
IMAGE_NAME = "registry.example.com/proxy"


class Clock:
    """The clock that the program reads."""

    time = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)

    @classmethod
    def now(cls, _zone: object) -> datetime:
        return cls.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    class TestClock(Clock):
        pass

    monkeypatch.setattr(module, "datetime", TestClock)
    return TestClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in ((".dockerignore", ""), ("Dockerfile", "FROM scratch\n"), ("proxy.py", "one")):
        (tmp_path / name).write_text(text)
    return tmp_path


def record_image(folder: Path, *replaced_by: str, platform: str = "linux/arm64", **arguments: str | None) -> Resource:
    def program() -> None:
        # Any resource can be the repository here.
        repository = random.RandomId("repository", byte_length=4)
        built_image(
            "proxy",
            Build(context=folder, platform=platform, arguments=arguments),
            Registry(
                image=pulumi.Output.from_input(IMAGE_NAME),
                repository=repository,
                replaced_by=replaced_by,
                login=docker_build.RegistryArgs(address=IMAGE_NAME, username="u", password=pulumi.Output.secret("p")),
            ),
            parent=repository,
        )

    (found,) = (resource for resource in record(program).resources if resource.type == IMAGE)
    return found


def test_tag_contains_content_hash_and_time(folder: Path, clock: type[Clock]) -> None:
    image = record_image(folder)
    assert re.fullmatch(rf"{IMAGE_NAME}:[0-9a-f]{{16}}-20261122T163000Z", image.inputs["tags"][0])
    assert image.inputs["tags"][0].startswith(f"{IMAGE_NAME}:{image.name.removeprefix('proxy-')}")
    clock.time += timedelta(days=1)
    assert record_image(folder).name == image.name


def test_later_run_with_the_same_content_pushes_another_tag(folder: Path, clock: type[Clock]) -> None:
    before = record_image(folder)
    clock.time += timedelta(seconds=1)
    assert record_image(folder).inputs["tags"] != before.inputs["tags"]


def test_changed_tag_is_ignored_for_an_existing_image(folder: Path) -> None:
    assert record_image(folder).ignore_changes == ("tags",)


def test_every_input_that_triggers_a_build_changes_the_resource_name(folder: Path, tmp_path: Path) -> None:
    # docker-build's Diff compares the files and all inputs except the password. An update would push the old tag.
    first = record_image(folder, "eu-west-1", BASE="python:3.12")
    other_names = {
        record_image(folder, "eu-west-1", BASE="python:3.13").name,
        record_image(folder, "eu-west-1").name,
        record_image(folder, "eu-north-1", BASE="python:3.12").name,
        record_image(folder, "eu-west-1", platform="linux/amd64", BASE="python:3.12").name,
        record_image(folder.rename(tmp_path.with_name("moved")), "eu-west-1", BASE="python:3.12").name,
    }
    assert len(other_names | {first.name}) == 6
    hashed = {"context", "dockerfile", "platforms", "buildArgs"}
    constant = {"push", "buildOnPreview", "network", "registries"}
    assert set(first.inputs) <= hashed | constant | set(first.ignore_changes)


def test_build_argument_none_is_omitted(folder: Path) -> None:
    assert record_image(folder, BASE=None).name == record_image(folder).name
    assert record_image(folder, BASE=None).inputs["buildArgs"].keys() == {"VERSION"}


def test_replaced_image_is_retained_and_deleted_with_its_repository(folder: Path) -> None:
    image = record_image(folder)
    assert image.retain_on_delete
    assert image.deleted_with == image.parent
