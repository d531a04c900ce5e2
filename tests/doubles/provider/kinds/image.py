"""The registry, and the images that docker-build pushes into it.

A build is not reproducible (times, attestations), so each one has a digest of its own: pushing a tag again into a
repository with immutable tags is refused, as ECR does ("Preventing image tags from being overwritten").
"""

import hashlib
import re
from typing import TYPE_CHECKING, Any

from ..kind import ACCOUNT, REGION, Kind, Making, Name, Problems, Refers, RefusedError, Values
from ..paths import values_at
from ..wire import UNKNOWN
from .common import group, json_in, matches, policy_problems

if TYPE_CHECKING:
    from ..cloud import Cloud, Thing

IMAGE = "docker-build:index:Image"
REPOSITORY = "aws:ecr/repository:Repository"
_REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def _repository(making: Making) -> tuple[str, dict[str, object]]:
    name = str(making.inputs["name"])
    return name, {
        "arn": making.arn("ecr", f"repository/{name}"),
        "registryId": ACCOUNT,
        "repositoryUrl": f"{_REGISTRY}/{name}",
    }


def _no_images(thing: "Thing", cloud: "Cloud") -> None:
    if thing.inside and not thing.inputs.get("forceDelete"):
        raise RefusedError(f"RepositoryNotEmptyException: {thing} holds {len(thing.inside)} images.")
    for image in cloud.of(IMAGE):
        if image.computed["digest"] in thing.inside.values():
            cloud.remove(image)


def _lifecycle_problems(inputs: Values) -> Problems:
    try:
        policy: Any = json_in(inputs, "policy")
    except ValueError:
        yield "policy", "it is not JSON"
        return
    if policy is None:
        return
    priorities: list[int] = [rule.get("rulePriority") for rule in policy.get("rules", [])]
    if not priorities or len(set(priorities)) != len(priorities):
        yield "policy", "its rules have no priorities of their own"
    for index, rule in enumerate(policy.get("rules", [])):
        selection: Any = rule.get("selection", {})
        path = f"policy.rules[{index}]"
        if selection.get("tagStatus") not in ("tagged", "untagged", "any"):
            yield path, "its tagStatus is not tagged, untagged or any"
        if selection.get("countType") not in ("imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"):
            yield path, f"countType {selection.get('countType')!r} is unknown"
        if selection.get("tagStatus") == "tagged" and not {"tagPrefixList", "tagPatternList"} & set(selection):
            yield path, "a rule for tagged images names no tags"
        if rule.get("action", {}).get("type") not in ("expire", "transition"):
            yield path, "its action is not expire"
    last = max((one for one in priorities if one), default=0)
    if any(rule["selection"].get("tagStatus") == "any" and rule["rulePriority"] != last for rule in policy["rules"]):
        yield "policy", "a rule for any image must have the highest rulePriority"


def context_hash(inputs: Values, cloud: "Cloud") -> Any:
    """Of the files that are built, as the provider takes it for its outputs. Raises RefusedError."""
    location = group(inputs, "context").get("location")
    if not isinstance(location, str):
        return UNKNOWN
    folder = cloud.folder / location
    dockerfile = group(inputs, "dockerfile").get("location")
    if not folder.is_dir() or not (cloud.folder / (dockerfile or f"{location}/Dockerfile")).is_file():
        raise RefusedError(f"{location!r} is no folder with a Dockerfile.")
    digest = hashlib.sha256()
    for file in sorted(one for one in folder.rglob("*") if one.is_file() and "__pycache__" not in one.parts):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _image_problems(inputs: Values) -> Problems:
    if inputs.get("push") is True and not inputs.get("tags"):
        yield "tags", "an image that is pushed needs one"


def _image(making: Making) -> tuple[str, dict[str, object]]:
    digest = f"sha256:{making.hexes(64)}"
    tags: Any = making.inputs.get("tags") or []
    return digest, {
        "digest": digest,
        "contextHash": context_hash(making.inputs, making.cloud),
        "ref": f"{tags[0]}@{digest}",
    }


def _push(thing: "Thing", cloud: "Cloud") -> None:
    if not thing.inputs.get("push"):
        return
    addresses = list(values_at(thing.inputs, "registries[*].address"))
    for tagged in thing.inputs["tags"]:
        url, _, tag = tagged.rpartition(":")
        if not any(url.startswith(re.sub(r"^https?://", "", str(one))) for one in addresses):
            raise RefusedError(f"no basic auth credentials: nobody has signed in to the registry of {tagged}.")
        repository = next((one for one in cloud.of(REPOSITORY) if one.computed["repositoryUrl"] == url), None)
        if repository is None:
            raise RefusedError(f"name unknown: the repository of {tagged} does not exist.")
        if tag in repository.inside and repository.inputs.get("imageTagMutability") == "IMMUTABLE":
            raise RefusedError(
                f"tag invalid: the image tag {tag!r} already exists in {repository} and cannot be overwritten, "
                "because the tag is immutable."
            )
        repository.inside[tag] = thing.computed["digest"]


def _rebuild(thing: "Thing", cloud: "Cloud") -> None:
    digest = f"sha256:{hashlib.sha256(str(cloud.ticket()).encode()).hexdigest()}"
    thing.computed.update(
        digest=digest, contextHash=context_hash(thing.inputs, cloud), ref=f"{thing.inputs['tags'][0]}@{digest}"
    )
    _push(thing, cloud)


def _unpush(thing: "Thing", cloud: "Cloud") -> None:
    for repository in cloud.of(REPOSITORY):
        for tag in [tag for tag, digest in repository.inside.items() if digest == thing.computed["digest"]]:
            del repository.inside[tag]


KINDS = (
    Kind(
        token=REPOSITORY,
        name=Name(lower=True),
        make=_repository,
        one_of=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"(?=.{2,256}$)[a-z0-9]+([._/-][a-z0-9]+)*"),
        deleting=_no_images,
    ),
    Kind(
        token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
        puts=True,
        make=lambda making: (str(making.inputs["repository"]), {"registryId": ACCOUNT}),
        refers=(Refers(path="repository", kinds=(REPOSITORY,), by=("name",), holds=False, within=True),),
        one_of=(("repository",),),
        check=_lifecycle_problems,
    ),
    Kind(
        token="aws:ecr/repositoryPolicy:RepositoryPolicy",
        puts=True,
        make=lambda making: (str(making.inputs["repository"]), {"registryId": ACCOUNT}),
        refers=(Refers(path="repository", kinds=(REPOSITORY,), by=("name",), holds=False, within=True),),
        one_of=(("repository",),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
    ),
    Kind(
        token=IMAGE,
        make=_image,
        check=_image_problems,
        made=_push,
        changed=_rebuild,
        deleting=_unpush,
        moves=("digest", "contextHash", "ref"),
    ),
)
