"""An image built here with docker-build and pushed: once for each content, under a tag of its own, named by its digest.

A tag can be pushed once (moby/buildkit#3776; not even the same digest again, aws/containers-roadmap#2179), and a run
may end between a push and the engine's note of it. So a tag says when the run was that pushed it, and is not looked at
again; another content is another resource.

Docker with BuildKit is left to whoever runs the program, and for another processor architecture its emulation.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build

# The package itself holds the project's version and nothing else.
from proxy_app import __version__

from .build_context import content_hash, location


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What is built. ``dockerfile`` is its path from ``context``; arguments that are None are left out.

    The project's version is added as the argument VERSION.
    """

    context: Path
    dockerfile: str = "Dockerfile"
    platform: str
    arguments: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where it is pushed to: ``image`` is the whole name without a tag, ``repository`` deletes what it holds."""

    image: pulumi.Output[str]
    repository: pulumi.Resource
    made_for: Sequence[str]
    """What it cannot change: with another one of these it is another repository, and has none of the images."""
    login: docker_build.RegistryArgs
    """With a password made for this run: docker-build does not take another one for a change."""


def built_image(name: str, build: Build, registry: Registry, *, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The image by its digest. Its resource has ``name`` and the beginning of its content's hash."""
    given = {"VERSION": __version__}
    given |= {argument: value for argument, value in build.arguments.items() if value is not None}
    context = location(build.context)
    dockerfile = posixpath.normpath(f"{context}/{build.dockerfile}")
    content = content_hash(
        build.context,
        context,
        build.platform,
        *registry.made_for,
        *(f"{argument}={value}" for argument, value in given.items()),
        dockerfile=build.dockerfile,
    )
    image = docker_build.Image(
        f"{name}-{content[:8]}",
        context=docker_build.BuildContextArgs(location=context),
        dockerfile=docker_build.DockerfileArgs(location=dockerfile),
        platforms=[docker_build.Platform(build.platform)],
        build_args=given,
        build_on_preview=False,
        push=True,
        tags=[pulumi.Output.concat(registry.image, f":{content[:16]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")],
        registries=[registry.login],
        opts=pulumi.ResourceOptions(
            parent=parent,
            ignore_changes=["tags"],
            # An Image that goes deletes its digest, which may be the very one that runs (pulumi-docker-build#606), or
            # what a failed deployment goes back to. The repository deletes what it holds.
            retain_on_delete=True,
            deleted_with=registry.repository,
        ),
    )
    return pulumi.Output.concat(registry.image, "@", image.digest)
