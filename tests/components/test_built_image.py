"""An image is pushed under a tag that no run before can have used, however that run ended."""

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

BUILT = "docker-build:index:Image"
NAME = "registry.example.com/proxy"


class Clock:
    """What the program takes for now."""

    time = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)

    @classmethod
    def now(cls, _zone: object) -> datetime:
        return cls.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    class Own(Clock):
        pass

    monkeypatch.setattr(module, "datetime", Own)
    return Own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in ((".dockerignore", ""), ("Dockerfile", "FROM scratch\n"), ("proxy.py", "one")):
        (tmp_path / name).write_text(text)
    return tmp_path


def recorded(folder: Path, *replaced_by: str, platform: str = "linux/arm64", **arguments: str | None) -> Resource:
    def program() -> None:
        # Stands in for a repository: any resource does.
        repository = random.RandomId("repository", byte_length=4)
        built_image(
            "proxy",
            Build(context=folder, platform=platform, arguments=arguments),
            Registry(
                image=pulumi.Output.from_input(NAME),
                repository=repository,
                replaced_by=replaced_by,
                login=docker_build.RegistryArgs(address=NAME, username="u", password=pulumi.Output.secret("p")),
            ),
            parent=repository,
        )

    (found,) = (one for one in record(program).resources if one.type == BUILT)
    return found


def test_a_tag_names_content_and_time(folder: Path, clock: type[Clock]) -> None:
    image = recorded(folder)
    assert re.fullmatch(rf"{NAME}:[0-9a-f]{{16}}-20261122T163000Z", image.inputs["tags"][0])
    assert image.inputs["tags"][0].startswith(f"{NAME}:{image.name.removeprefix('proxy-')}")
    clock.time += timedelta(days=1)
    assert recorded(folder).name == image.name


def test_a_run_after_one_that_died_with_its_push_done_pushes_another_tag(folder: Path, clock: type[Clock]) -> None:
    before = recorded(folder)
    clock.time += timedelta(seconds=1)
    assert recorded(folder).inputs["tags"] != before.inputs["tags"]


def test_an_image_that_is_there_keeps_the_tag_that_it_has(folder: Path) -> None:
    assert recorded(folder).ignore_changes == ("tags",)


def test_whatever_makes_docker_build_push_again_is_another_resource(folder: Path, tmp_path: Path) -> None:
    # Its Diff compares the files and all inputs but the password. As an update, it would push the old tag.
    first = recorded(folder, "eu-west-1", BASE="python:3.12")
    others = {
        recorded(folder, "eu-west-1", BASE="python:3.13").name,
        recorded(folder, "eu-west-1").name,
        recorded(folder, "eu-north-1", BASE="python:3.12").name,
        recorded(folder, "eu-west-1", platform="linux/amd64", BASE="python:3.12").name,
        recorded(folder.rename(tmp_path.with_name("moved")), "eu-west-1", BASE="python:3.12").name,
    }
    assert len(others | {first.name}) == 6
    in_the_name = {"context", "dockerfile", "platforms", "buildArgs"}
    constant = {"push", "buildOnPreview", "network", "registries"}
    assert set(first.inputs) <= in_the_name | constant | set(first.ignore_changes)


def test_what_is_given_as_none_is_left_out(folder: Path) -> None:
    assert recorded(folder, BASE=None).name == recorded(folder).name
    assert recorded(folder, BASE=None).inputs["buildArgs"].keys() == {"VERSION"}


def test_what_runs_is_not_deleted_by_a_newer_build(folder: Path) -> None:
    image = recorded(folder)
    assert image.retain_on_delete
    assert image.deleted_with == image.parent
