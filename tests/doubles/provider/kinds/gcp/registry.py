"""Artifact Registry."""

import re
from typing import TYPE_CHECKING

from ...kind import CreateRequest, Problems, Reference, Values
from ..common import among, group, groups, known, matches
from ..images import delete_images
from .identity import iam_member
from .kms import require_key
from .project import PROJECT, in_region, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

REPOSITORY = "gcp:artifactregistry/repository:Repository"
_WIDE = frozenset({"asia", "europe", "us"})


def _repository(request: CreateRequest) -> tuple[str, dict[str, object]]:
    location, name = request.inputs["location"], request.inputs["repositoryId"]
    return f"projects/{PROJECT}/locations/{location}/repositories/{name}", {
        "name": name,
        "registryUri": f"{location}-docker.pkg.dev/{PROJECT}/{name}",
        "createTime": "2026-01-02T03:04:05Z",
        "updateTime": "2026-01-02T03:04:05Z",
    }


def _problems(inputs: Values) -> Problems:
    """https://cloud.google.com/artifact-registry/docs/repositories/cleanup-policy."""
    yield from matches(inputs, "repositoryId", r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
    yield from in_region(inputs, "location", others=_WIDE)
    if inputs.get("location") is None:
        yield "location", "required: the provider has no default"
    names: list[object] = []
    for index, policy in enumerate(groups(inputs, "cleanupPolicies")):
        path = f"cleanupPolicies[{index}]"
        names.append(known(policy, "id"))
        for field, why in among(policy, "action", ("DELETE", "KEEP")):
            yield f"{path}.{field}", why
        condition, recent = group(policy, "condition"), group(policy, "mostRecentVersions")
        if bool(condition) == bool(recent):
            yield path, "expected exactly one of condition, mostRecentVersions"
        if recent and known(policy, "action") == "DELETE":
            yield f"{path}.mostRecentVersions", "only for the action KEEP"
        count = known(recent, "keepCount")
        if count is not None and count < 1:
            yield f"{path}.mostRecentVersions.keepCount", f"got {count}, expected at least 1"
        for field in ("olderThan", "newerThan"):
            value = known(condition, field)
            if value is not None and not re.fullmatch(r"\d+(?:s|d)", value):
                yield f"{path}.condition.{field}", f"got {value!r}, expected seconds (2592000s) or days (30d)"
        for field, why in among(condition, "tagState", ("ANY", "TAGGED", "UNTAGGED")):
            yield f"{path}.condition.{field}", why
        if condition.get("tagPrefixes") and known(condition, "tagState") != "TAGGED":
            yield f"{path}.condition.tagPrefixes", "only for tagState TAGGED"
    if len(set(names)) != len(names):
        yield "cleanupPolicies", "two policies have the same id"


def _repository_normal_form(inputs: Values) -> Values:
    """Artifact Registry returns no dockerConfig for mutable tags, and the provider then plans to add it again.

    resource_artifact_registry_repository.go: a block whose only field is false is left out of the request.
    """
    if group(inputs, "dockerConfig").get("immutableTags"):
        return inputs
    return {name: value for name, value in inputs.items() if name != "dockerConfig"}


def _key_usable(resource: "Resource", cloud: "Cloud") -> None:
    key, location = resource.inputs.get("kmsKeyName"), str(resource.inputs["location"])
    require_key(resource, cloud, service="artifactregistry", key=key, location=location)


def has_image(reference: str, cloud: "Cloud") -> bool:
    """Whether an image exists; repositories of other projects are not checked."""
    name, _, digest = reference.partition("@")
    for repository in cloud.of(REPOSITORY):
        if f"{name}/".startswith(f"{repository.computed['registryUri']}/"):
            return any(
                image_digest == digest if digest else tagged == name
                for tagged, image_digest in repository.contents.items()
                if tagged.rpartition(":")[0] in (name, name.rpartition(":")[0])
            )
    return f"-docker.pkg.dev/{PROJECT}/" not in name or reference in cloud.existing


KINDS = (
    of_google(
        REPOSITORY,
        "artifactregistry",
        _repository,
        check=_problems,
        on_create=_key_usable,
        on_delete=delete_images,
        lost_on_timeout=True,
        normal_form=_repository_normal_form,
        conflict=lambda _there: "Error creating Repository: googleapi: Error 409: the repository already exists.",
    ),
    iam_member(
        "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
        "artifactregistry",
        lambda inputs: (
            f"projects/{PROJECT}/locations/{inputs['location']}/repositories/"
            + str(inputs["repository"]).rsplit("/", 1)[-1]
        ),
        Reference(path="repository", kinds=(REPOSITORY,), by=("id", "name"), blocks_delete=False, deleted_with=True),
    ),
)
