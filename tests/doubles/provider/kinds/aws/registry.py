"""ECR repositories."""

from typing import TYPE_CHECKING, Any

from ...kind import ACCOUNT, REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import json_in, matches
from ..images import delete_images
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

REPOSITORY = "aws:ecr/repository:Repository"
_REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def _repository(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"])
    return name, {
        "arn": request.arn("ecr", f"repository/{name}"),
        "registryId": ACCOUNT,
        "repositoryUrl": f"{_REGISTRY}/{name}",
    }


def _no_images(resource: "Resource", cloud: "Cloud") -> None:
    if resource.contents and not resource.inputs.get("forceDelete"):
        raise CloudError(f"RepositoryNotEmptyException: {resource} holds {len(resource.contents)} images.")
    delete_images(resource, cloud)


def _lifecycle_problems(inputs: Values) -> Problems:
    try:
        policy: Any = json_in(inputs, "policy")
    except ValueError:
        yield "policy", "not valid JSON"
        return
    if policy is None:
        return
    priorities: list[int] = [rule.get("rulePriority") for rule in policy.get("rules", [])]
    if not priorities or len(set(priorities)) != len(priorities):
        yield "policy", "expected rules with different priorities"
    for index, rule in enumerate(policy.get("rules", [])):
        selection: Any = rule.get("selection", {})
        path = f"policy.rules[{index}]"
        if selection.get("tagStatus") not in ("tagged", "untagged", "any"):
            yield path, "expected the tagStatus tagged, untagged or any"
        if selection.get("countType") not in ("imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"):
            yield path, f"countType {selection.get('countType')!r} is unknown"
        if selection.get("tagStatus") == "tagged" and not {"tagPrefixList", "tagPatternList"} & set(selection):
            yield path, "a rule for tagged images requires tagPrefixList or tagPatternList"
        if rule.get("action", {}).get("type") not in ("expire", "transition"):
            yield path, "expected the action type expire or transition"
    last = max((priority for priority in priorities if priority), default=0)
    if any(rule["selection"].get("tagStatus") == "any" and rule["rulePriority"] != last for rule in policy["rules"]):
        yield "policy", "a rule for any image must have the highest rulePriority"


KINDS = (
    Kind(
        token=REPOSITORY,
        name=Name(lower=True),
        make=_repository,
        unique=(("name",),),
        check=lambda inputs: matches(inputs, "name", r"(?=.{2,256}$)[a-z0-9]+([._/-][a-z0-9]+)*"),
        on_delete=_no_images,
    ),
    Kind(
        token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
        overwrites=True,
        make=lambda request: (str(request.inputs["repository"]), {"registryId": ACCOUNT}),
        references=(
            Reference(path="repository", kinds=(REPOSITORY,), by=("name",), blocks_delete=False, deleted_with=True),
        ),
        unique=(("repository",),),
        check=_lifecycle_problems,
    ),
    Kind(
        token="aws:ecr/repositoryPolicy:RepositoryPolicy",
        overwrites=True,
        make=lambda request: (str(request.inputs["repository"]), {"registryId": ACCOUNT}),
        references=(
            Reference(path="repository", kinds=(REPOSITORY,), by=("name",), blocks_delete=False, deleted_with=True),
        ),
        unique=(("repository",),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
    ),
)
