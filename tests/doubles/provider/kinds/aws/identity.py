"""Roles, their policies and instance profiles. IAM's limits: IAM user guide, "IAM and AWS STS quotas"."""

from ...kind import CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import between, known, matches
from .policies import policy_problems

ROLE = "aws:iam/role:Role"
INSTANCE_PROFILE = "aws:iam/instanceProfile:InstanceProfile"
_NAME = r"[\w+=,.@-]+"


def _role(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["name"])
    return name, {
        "arn": request.arn("iam", f"role{request.inputs.get('path', '/')}{name}", region=""),
        "uniqueId": f"AROA{request.hex_digits(17).upper()}",
        "createDate": "2026-01-02T03:04:05Z",
    }


def _role_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", _NAME)
    yield from matches(inputs, "description", r"[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]{0,1000}")
    yield from between(inputs, "maxSessionDuration", 3600, 43200)
    yield from policy_problems(inputs, "assumeRolePolicy", principal=True)


def _inline_problems(inputs: Values) -> Problems:
    yield from policy_problems(inputs, "policy", principal=False)
    text = known(inputs, "policy")
    # White space is not counted.
    if text is not None and len("".join(text.split())) > 10_240:
        yield "policy", "expected at most 10,240 characters"


KINDS = (
    Kind(token=ROLE, name=Name(limit=64), make=_role, unique=(("name",),), check=_role_problems),
    Kind(
        token="aws:iam/rolePolicy:RolePolicy",
        overwrites=True,
        name=Name(limit=128),
        make=lambda request: (f"{request.inputs['role']}:{request.inputs['name']}", {}),
        references=(Reference(path="role", kinds=(ROLE,), by=("name", "id")),),
        unique=(("role", "name"),),
        check=_inline_problems,
    ),
    Kind(
        token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        overwrites=True,
        make=lambda request: (f"{request.inputs['role']}/{request.inputs['policyArn']}", {}),
        references=(Reference(path="role", kinds=(ROLE,), by=("name", "id")),),
        unique=(("role", "policyArn"),),
    ),
    Kind(
        token=INSTANCE_PROFILE,
        name=Name(limit=128),
        make=lambda request: (
            str(request.inputs["name"]),
            {
                "arn": request.arn("iam", f"instance-profile/{request.inputs['name']}", region=""),
                "uniqueId": f"AIPA{request.hex_digits(17).upper()}",
            },
        ),
        references=(Reference(path="role", kinds=(ROLE,), by=("name", "id")),),
        unique=(("name",),),
    ),
)
