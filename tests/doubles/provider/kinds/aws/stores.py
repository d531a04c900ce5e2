"""Buckets and secrets."""

import re
from typing import TYPE_CHECKING, Any

from ...kind import REGION, CloudError, CreateRequest, Kind, Name, Problems, Reference, Values
from ..common import exactly_one, json_in, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

BUCKET = "aws:s3/bucket:Bucket"
SECRET = "aws:secretsmanager/secret:Secret"
_OF_BUCKET = Reference(path="bucket", kinds=(BUCKET,), by=("id", "bucket"), blocks_delete=False, deleted_with=True)
_PARTS = (
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketLogging:BucketLogging",
)


def _bucket(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = str(request.inputs["bucket"])
    return name, {
        "arn": f"arn:aws:s3:::{name}",
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{REGION}.amazonaws.com",
        "hostedZoneId": "Z1BKCTXD74EZPE",
        "bucketRegion": REGION,
    }


def _bucket_empty(resource: "Resource", _cloud: "Cloud") -> None:
    if resource.contents and not resource.inputs.get("forceDestroy"):
        raise CloudError(f"BucketNotEmpty: {resource} holds {len(resource.contents)} objects.")


def _bucket_policy_fits(resource: "Resource", cloud: "Cloud") -> None:
    bucket = cloud.find(resource.inputs["bucket"], (BUCKET,), ("id",))
    policy: Any = json_in(resource.inputs, "policy")
    for statement in policy["Statement"]:
        resources: Any = statement.get("Resource", [])
        for pattern in [resources] if isinstance(resources, str) else resources:
            if not re.match(rf"{re.escape(bucket.computed['arn'])}(/|$)", pattern):
                raise CloudError(f"MalformedPolicy: policy has invalid resource: {pattern}.")
        open_to_all = statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("Condition")
        blocked = any(other.inputs["bucket"] == bucket.id for other in cloud if other.kind.token == _PARTS[3])
        if statement["Effect"] == "Allow" and open_to_all and blocked:
            raise CloudError("AccessDenied: public policies are blocked by the BlockPublicPolicy setting.")


def _secret_name_free(resource: "Resource", cloud: "Cloud") -> None:
    if any(f"secret {resource.inputs['name']} " in leftover for leftover in cloud.leftovers):
        raise CloudError(f"InvalidRequestException: a secret {resource.inputs['name']} is scheduled for deletion.")


def _secret_left(resource: "Resource") -> str | None:
    days = resource.inputs.get("recoveryWindowInDays", 30)
    return f"secret {resource.inputs['name']} scheduled for deletion in {days} days" if days else None


def _secret_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"[\w/+=.@-]{1,512}")
    days = known(inputs, "recoveryWindowInDays")
    if days is not None and days != 0 and not 7 <= days <= 30:
        yield "recoveryWindowInDays", f"got {days}, expected 0, or 7 to 30"


KINDS = (
    Kind(
        token=BUCKET,
        name=Name(field="bucket", limit=63, lower=True),
        make=_bucket,
        unique=(("bucket",),),
        check=lambda inputs: matches(inputs, "bucket", r"(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        on_delete=_bucket_empty,
    ),
    *(
        Kind(
            token=token,
            overwrites=True,
            make=lambda request: (str(request.inputs["bucket"]), {}),
            references=(_OF_BUCKET,),
            unique=(("bucket",),),
        )
        for token in _PARTS
    ),
    Kind(
        token="aws:s3/bucketPolicy:BucketPolicy",
        overwrites=True,
        make=lambda request: (str(request.inputs["bucket"]), {}),
        references=(_OF_BUCKET,),
        unique=(("bucket",),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
        on_create=_bucket_policy_fits,
        on_update=_bucket_policy_fits,
    ),
    Kind(
        token=SECRET,
        name=Name(),
        make=lambda request: (
            arn := request.arn("secretsmanager", f"secret:{request.inputs['name']}-{request.hex_digits(6)}"),
            {"arn": arn},
        ),
        unique=(("name",),),
        check=_secret_problems,
        on_create=_secret_name_free,
        leftover=_secret_left,
    ),
    Kind(
        token="aws:secretsmanager/secretVersion:SecretVersion",
        make=lambda request: (
            f"{request.inputs['secretId']}|terraform-{request.hex_digits(26)}",
            {
                "arn": request.find(request.inputs["secretId"], SECRET).id,
                "versionId": f"terraform-{request.hex_digits(26)}",
                "versionStages": ["AWSCURRENT"],
            },
        ),
        references=(
            Reference(path="secretId", kinds=(SECRET,), by=("id", "name"), blocks_delete=False, deleted_with=True),
        ),
        check=lambda inputs: exactly_one(inputs, "secretString", "secretBinary", "secretStringWo"),
    ),
)
