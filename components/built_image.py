"""An image built here with docker-build and pushed: once for each content, under a tag of its own, named by its digest.

Docker with BuildKit is left to whoever runs the program, and for another processor architecture its emulation.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build
import pulumi_random as random

from .build_context import content_hash, location


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is built. ``dockerfile`` is its path from ``context``; arguments that are None are left out."""

    context: Path
    dockerfile: str = "Dockerfile"
    platform: str
    arguments: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where it is pushed to: ``image`` is the whole name without a tag, ``repository`` deletes what it holds."""

    image: pulumi.Output[str]
    repository: pulumi.Resource
    login: docker_build.RegistryArgs
    """With a password made for this run: docker-build does not take another one for a change."""


def built_image(
    name: str, tag_name: str, build: Build, registry: Registry, *, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """The image by its digest. ``name`` and ``tag_name`` are those of its two resources."""
    given = {argument: value for argument, value in build.arguments.items() if value is not None}
    further = [build.platform, *(f"{argument}={value}" for argument, value in given.items())]
    tag = _tag(tag_name, content_hash(build.context, *further, dockerfile=build.dockerfile), parent)
    context = location(build.context)
    image = docker_build.Image(
        name,
        context=docker_build.BuildContextArgs(location=context),
        dockerfile=docker_build.DockerfileArgs(location=posixpath.normpath(f"{context}/{build.dockerfile}")),
        platforms=[docker_build.Platform(build.platform)],
        build_args=given,
        build_on_preview=False,
        push=True,
        tags=[pulumi.Output.concat(registry.image, ":", tag)],
        registries=[registry.login],
        opts=pulumi.ResourceOptions(
            parent=parent,
            # A replaced Image deletes its digest, which may be the very one that runs (pulumi-docker-build#606).
            # The repository deletes what it holds.
            retain_on_delete=True,
            deleted_with=registry.repository,
        ),
    )
    return pulumi.Output.concat(registry.image, "@", image.digest)


def _tag(name: str, content: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    # A second build of the same content has other bytes: after A, B and A again, the second A needs a tag of its own,
    # as an immutable tag cannot be pushed again (moby/buildkit#3776).
    build = random.RandomId(
        name, byte_length=4, keepers={"content": content}, opts=pulumi.ResourceOptions(parent=parent)
    )
    return pulumi.Output.concat(content[:16], "-", build.hex)
