"""A container image that is built and pushed with docker-build, once for each content, with its own tag.

Tags are immutable: even the same digest cannot be pushed again (moby/buildkit#3776, aws/containers-roadmap#2179), and a
run may be interrupted between the push and the update of the state. So a tag contains the time of the push, changes of
it are ignored, and new content is a new resource.

Requires Docker with BuildKit. The Dockerfiles need no emulation for another CPU architecture.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pulumi
import pulumi_docker_build as docker_build

# The package itself holds the project's version and nothing else.
from proxy_app import __version__

from .build_context import content_hash, location

_NO_BUILDER = re.compile(r"initialize builder|buildkit is not supported|docker daemon|docker\.sock", re.IGNORECASE)


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
    """The registry: ``image`` is the name without a tag; deleting ``repository`` deletes its images."""

    image: pulumi.Output[str]
    repository: pulumi.Resource
    replaced_by: Sequence[str]
    """Properties whose change replaces the repository, which is then empty."""
    login: docker_build.RegistryArgs
    """Credentials of this run; docker-build ignores changes of the password."""


def built_image(name: str, build: Build, registry: Registry, *, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Build an image and return its URI with the digest. The resource is named ``name`` and the start of the hash."""
    arguments = {"VERSION": __version__}
    arguments |= {argument: value for argument, value in build.arguments.items() if value is not None}
    context = location(build.context)
    dockerfile = posixpath.normpath(f"{context}/{build.dockerfile}")
    content = content_hash(
        build.context,
        context,
        build.platform,
        *registry.replaced_by,
        *(f"{argument}={value}" for argument, value in arguments.items()),
        dockerfile=build.dockerfile,
    )
    image = docker_build.Image(
        f"{name}-{content[:8]}",
        context=docker_build.BuildContextArgs(location=context),
        dockerfile=docker_build.DockerfileArgs(location=dockerfile),
        platforms=[docker_build.Platform(build.platform)],
        build_args=arguments,
        build_on_preview=False,
        push=True,
        tags=[pulumi.Output.concat(registry.image, f":{content[:16]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")],
        registries=[registry.login],
        opts=pulumi.ResourceOptions(
            parent=parent,
            ignore_changes=["tags"],
            # Deleting an Image deletes its digest, which may be running (pulumi-docker-build#606) or be needed for a
            # rollback. The repository deletes its images.
            retain_on_delete=True,
            deleted_with=registry.repository,
            hooks=pulumi.ResourceHookBinding(
                on_error=[pulumi.ErrorHook(f"{name}-no-builder", _explain_missing_builder)]
            ),
        ),
    )
    return pulumi.Output.concat(registry.image, "@", image.digest)


def _explain_missing_builder(args: pulumi.ErrorHookArgs) -> bool:
    """Raises pulumi.RunError if no builder is reachable; returns False, which means no retry, for other errors."""
    error = args.errors[0]
    if _NO_BUILDER.search(error):
        raise pulumi.RunError(
            "The image cannot be built: neither Docker with BuildKit nor a remote builder is reachable. Start Docker, "
            "select a builder with `docker buildx use NAME`, or set image.imageUri; `make preflight` checks this. "
            f"(docker-build's error: {error})"
        )
    return False
