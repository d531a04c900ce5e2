"""Buckets and secrets."""

import re
from typing import TYPE_CHECKING, Any

from ...kind import REGION, Kind, Making, Name, Problems, Refers, RefusedError, Values
from ..common import exactly_one, json_in, known, matches
from .policies import policy_problems

if TYPE_CHECKING:
    from ...cloud import Cloud, Thing

BUCKET = "aws:s3/bucket:Bucket"
SECRET = "aws:secretsmanager/secret:Secret"
_OF_BUCKET = Refers(path="bucket", kinds=(BUCKET,), by=("id", "bucket"), holds=False, within=True)
_PARTS = (
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketLogging:BucketLogging",
)


def _bucket(making: Making) -> tuple[str, dict[str, object]]:
    name = str(making.inputs["bucket"])
    return name, {
        "arn": f"arn:aws:s3:::{name}",
        "bucketDomainName": f"{name}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{name}.s3.{REGION}.amazonaws.com",
        "hostedZoneId": "Z1BKCTXD74EZPE",
        "bucketRegion": REGION,
    }


def _bucket_empty(thing: "Thing", _cloud: "Cloud") -> None:
    if thing.inside and not thing.inputs.get("forceDestroy"):
        raise RefusedError(f"BucketNotEmpty: {thing} holds {len(thing.inside)} objects.")


def _bucket_policy_fits(thing: "Thing", cloud: "Cloud") -> None:
    bucket = cloud.named(thing.inputs["bucket"], (BUCKET,), ("id",))
    policy: Any = json_in(thing.inputs, "policy")
    for statement in policy["Statement"]:
        resources: Any = statement.get("Resource", [])
        for resource in [resources] if isinstance(resources, str) else resources:
            if not re.match(rf"{re.escape(bucket.computed['arn'])}(/|$)", resource):
                raise RefusedError(f"MalformedPolicy: policy has invalid resource: {resource}.")
        open_to_all = statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("Condition")
        blocked = any(one.inputs["bucket"] == bucket.id for one in cloud if one.kind.token == _PARTS[3])
        if statement["Effect"] == "Allow" and open_to_all and blocked:
            raise RefusedError("AccessDenied: public policies are blocked by the BlockPublicPolicy setting.")


def _secret_name_free(thing: "Thing", cloud: "Cloud") -> None:
    if any(f"secret {thing.inputs['name']} " in one for one in cloud.left_behind):
        raise RefusedError(f"InvalidRequestException: a secret {thing.inputs['name']} is scheduled for deletion.")


def _secret_left(thing: "Thing") -> str | None:
    days = thing.inputs.get("recoveryWindowInDays", 30)
    return f"secret {thing.inputs['name']} scheduled for deletion in {days} days" if days else None


def _secret_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"[\w/+=.@-]{1,512}")
    days = known(inputs, "recoveryWindowInDays")
    if days is not None and days != 0 and not 7 <= days <= 30:
        yield "recoveryWindowInDays", f"{days} is given; allowed is 0, or 7 to 30"


KINDS = (
    Kind(
        token=BUCKET,
        name=Name(field="bucket", limit=63, lower=True),
        make=_bucket,
        one_of=(("bucket",),),
        check=lambda inputs: matches(inputs, "bucket", r"(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        deleting=_bucket_empty,
    ),
    *(
        Kind(
            token=token,
            puts=True,
            make=lambda making: (str(making.inputs["bucket"]), {}),
            refers=(_OF_BUCKET,),
            one_of=(("bucket",),),
        )
        for token in _PARTS
    ),
    Kind(
        token="aws:s3/bucketPolicy:BucketPolicy",
        puts=True,
        make=lambda making: (str(making.inputs["bucket"]), {}),
        refers=(_OF_BUCKET,),
        one_of=(("bucket",),),
        check=lambda inputs: policy_problems(inputs, "policy", principal=True),
        made=_bucket_policy_fits,
        changed=_bucket_policy_fits,
    ),
    Kind(
        token=SECRET,
        name=Name(),
        make=lambda making: (
            arn := making.arn("secretsmanager", f"secret:{making.inputs['name']}-{making.hexes(6)}"),
            {"arn": arn},
        ),
        one_of=(("name",),),
        check=_secret_problems,
        made=_secret_name_free,
        leaves=_secret_left,
    ),
    Kind(
        token="aws:secretsmanager/secretVersion:SecretVersion",
        make=lambda making: (
            f"{making.inputs['secretId']}|terraform-{making.hexes(26)}",
            {
                "arn": making.found(making.inputs["secretId"], SECRET).id,
                "versionId": f"terraform-{making.hexes(26)}",
                "versionStages": ["AWSCURRENT"],
            },
        ),
        refers=(Refers(path="secretId", kinds=(SECRET,), by=("id", "name"), holds=False, within=True),),
        check=lambda inputs: exactly_one(inputs, "secretString", "secretBinary", "secretStringWo"),
    ),
)
