"""Images that docker-build pushes to a registry of either cloud.

A build is not reproducible (times, attestations), so each has a different digest: a repository with immutable tags
rejects a second push of a tag, as ECR does ("Preventing image tags from being overwritten").
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kind import CloudError, CreateRequest, Kind, Problems, Values
from ..paths import values_at
from ..wire import UNKNOWN
from .common import group

if TYPE_CHECKING:
    from ..cloud import Cloud, Resource

IMAGE = "docker-build:index:Image"


def context_hash(inputs: Values, cloud: "Cloud") -> Any:
    """Return a hash of the build context, as in the provider's outputs. Raises CloudError."""
    location = group(inputs, "context").get("location")
    if not isinstance(location, str):
        return UNKNOWN
    folder = cloud.folder / location
    dockerfile = cloud.folder / (group(inputs, "dockerfile").get("location") or f"{location}/Dockerfile")
    if not folder.is_dir() or not dockerfile.is_file():
        raise CloudError(f"{location!r} is not a folder with a Dockerfile.")
    digest = hashlib.sha256(dockerfile.read_bytes())
    for file in sorted(_context_files(folder, dockerfile)):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _context_files(folder: Path, dockerfile: Path) -> Iterator[Path]:
    """Files that .dockerignore does not exclude, the Dockerfile's own or the folder's. The last matching rule wins.

    https://docs.docker.com/build/concepts/context/#dockerignore-files
    """
    ignore = next(
        (
            file
            for file in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), folder / ".dockerignore")
            if file.is_file()
        ),
        None,
    )
    lines = [line.strip() for line in ignore.read_text(encoding="utf-8").splitlines()] if ignore else []
    rules = [
        (not line.startswith("!"), _as_pattern(line.lstrip("!").strip("/")))
        for line in lines
        if line and not line.startswith("#")
    ]
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        excluded = False
        for excludes, pattern in rules:
            if pattern.fullmatch(name):
                excluded = excludes
        if not excluded and file.is_file() and "__pycache__" not in file.parts:
            yield file


def _as_pattern(rule: str) -> re.Pattern[str]:
    """A rule for a folder applies to its content."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text = re.sub(r"\*\*/|\*\*|\*|\?|[^*?]+", lambda found: parts.get(found[0]) or re.escape(found[0]), rule)
    return re.compile(f"{text}(?:/.*)?")


def _image_problems(inputs: Values) -> Problems:
    if inputs.get("push") is True and not inputs.get("tags"):
        yield "tags", "required for an image that is pushed"


def _image(request: CreateRequest) -> tuple[str, dict[str, object]]:
    if not request.cloud.has_builder:
        # As the provider 0.0.22 without a Docker daemon.
        raise CloudError("failed to initialize builder: Cannot connect to the Docker daemon. Is it running?")
    digest = f"sha256:{request.hex_digits(64)}"
    tags: Any = request.inputs.get("tags") or []
    return digest, {
        "digest": digest,
        "contextHash": context_hash(request.inputs, request.cloud),
        "ref": f"{tags[0]}@{digest}",
    }


def _repository_of(url: str, cloud: "Cloud") -> "Resource | None":
    """An ECR repository has the images of a single name; an Artifact Registry repository has several names."""
    for repository in cloud:
        if repository.computed.get("repositoryUrl") == url or f"{url}/".startswith(
            f"{repository.computed.get('registryUri')}/"
        ):
            return repository
    return None


def _push(resource: "Resource", cloud: "Cloud") -> None:
    if not resource.inputs.get("push"):
        return
    addresses = list(values_at(resource.inputs, "registries[*].address"))
    for tagged in resource.inputs["tags"]:
        url, _, tag = tagged.rpartition(":")
        if not any(url.startswith(re.sub(r"^https?://", "", str(address))) for address in addresses):
            raise CloudError(f"no basic auth credentials: there is no login for the registry of {tagged}.")
        repository = _repository_of(url, cloud)
        if repository is None:
            raise CloudError(f"name unknown: the repository of {tagged} does not exist.")
        immutable = repository.inputs.get("imageTagMutability") == "IMMUTABLE" or group(
            repository.inputs, "dockerConfig"
        ).get("immutableTags")
        # By the full name in Artifact Registry, where a repository contains several images.
        name = tag if "repositoryUrl" in repository.computed else tagged
        if name in repository.contents and immutable:
            raise CloudError(
                f"tag invalid: the image tag {tag!r} already exists in {repository} and cannot be overwritten, "
                "because the tag is immutable."
            )
        repository.contents[name] = resource.computed["digest"]


def _rebuild(resource: "Resource", cloud: "Cloud") -> None:
    digest = f"sha256:{hashlib.sha256(str(cloud.next_number()).encode()).hexdigest()}"
    resource.computed.update(
        digest=digest, contextHash=context_hash(resource.inputs, cloud), ref=f"{resource.inputs['tags'][0]}@{digest}"
    )
    _push(resource, cloud)


def _unpush(resource: "Resource", cloud: "Cloud") -> None:
    for repository in cloud:
        for tag in [tag for tag, digest in repository.contents.items() if digest == resource.computed["digest"]]:
            del repository.contents[tag]


def delete_images(repository: "Resource", cloud: "Cloud") -> None:
    """Delete the images of a deleted repository."""
    for image in cloud.of(IMAGE):
        if image.computed["digest"] in repository.contents.values():
            cloud.remove(image)


KINDS = (
    Kind(
        token=IMAGE,
        make=_image,
        check=_image_problems,
        on_create=_push,
        on_update=_rebuild,
        on_delete=_unpush,
        updated_outputs=("digest", "contextHash", "ref"),
        # Create returns an error without a state (provider/internal/image.go).
        lost_on_timeout=True,
    ),
)
