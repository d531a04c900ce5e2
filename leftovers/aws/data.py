"""Searches for images, buckets, secrets, logs and IAM roles, and for everything else that has the component's tags."""

import re
import shlex
from collections.abc import Iterator

from botocore.exceptions import ClientError

from preflight.aws.api import error_code
from preflight.runner import in_parallel
from preflight.subject import Subject

from ..model import Left, search
from ..owner import Owner
from .kinds import DATA, ELSEWHERE, MONITORING, TAGGED
from .tags import AWS, is_owned, of_kinds, options_of, tagged, without_account

_ROLE, _PROFILE = "aws:iam/role:Role", "aws:iam/instanceProfile:InstanceProfile"


@search("aws images and buckets", types=AWS)
def data(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No ECR repository or S3 bucket is left."""
    return of_kinds(subject, owners, DATA)


@search("aws secrets", types=AWS)
def secrets(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No secret is left; one that was deleted with a recovery window is until its end."""
    for one in subject.aws.call("secretsmanager", "list_secrets", IncludePlannedDeletion=True)["SecretList"]:
        if is_owned(one.get("Tags", []), owners):
            arn = one["ARN"]
            command = f"aws secretsmanager delete-secret --secret-id {arn} --force-delete-without-recovery"
            planned = " (in its recovery window)" if one.get("DeletedDate") else ""
            yield Left(
                f"secret {one['Name']}{planned}",
                command + options_of(subject),
                "aws:secretsmanager/secret:Secret",
                (arn,),
            )


@search("aws logs and alarms", types=AWS)
def logs(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No log group, alarm, topic, dashboard or log resource policy is left; by name, too, where tags are missing."""
    options, region = options_of(subject), subject.aws.region
    tagged = of_kinds(subject, owners, MONITORING)
    yield from tagged
    seen = {name for one in tagged for name in one.identities}
    for owner in owners:
        waf = owner.physical_name("waf", 100)
        for name in (
            f"/mlflow/{owner.stack}/{owner.component}",
            f"/mlflow/{owner.physical_name('log', 400)}",
            f"aws-waf-logs-{waf}",
        ):
            found = subject.aws.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"]
            if any(one["logGroupName"] == name for one in found) and name not in seen:
                arn = f"arn:{subject.aws.partition}:logs:{region}:{subject.aws.account}:log-group:{name}"
                command = f"aws logs delete-log-group --log-group-name {shlex.quote(name)}{options}"
                yield Left(f"log group {name}", command, "aws:cloudwatch/logGroup:LogGroup", (arn, name))
        dashboard = f"{owner.physical_name('dashboard', 200)}-{region}"
        boards = subject.aws.call("cloudwatch", "list_dashboards", DashboardNamePrefix=dashboard)
        if any(one["DashboardName"] == dashboard for one in boards.get("DashboardEntries", [])):
            command = f"aws cloudwatch delete-dashboards --dashboard-names {dashboard}{options}"
            yield Left(f"dashboard {dashboard}", command, "aws:cloudwatch/dashboard:Dashboard", (dashboard,))
        policies = subject.aws.call("logs", "describe_resource_policies").get("resourcePolicies", [])
        if any(one["policyName"] == waf for one in policies):
            command = f"aws logs delete-resource-policy --policy-name {waf}{options}"
            yield Left(
                f"log resource policy {waf}", command, "aws:cloudwatch/logResourcePolicy:LogResourcePolicy", (waf,)
            )


@search("aws roles", types=AWS)
def roles(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No IAM role or instance profile is left."""
    options = options_of(subject)
    prefixes = tuple(f"{owner.component}-" for owner in owners)
    listed = subject.aws.call("iam", "list_instance_profiles")["InstanceProfiles"]
    profiles = [one for one in listed if one["InstanceProfileName"].startswith(prefixes)]
    tags = in_parallel(lambda one: _tags_of(subject, "instance_profile", one["InstanceProfileName"]), profiles)
    for one, its in zip(profiles, tags, strict=True):
        if is_owned(its, owners):
            name = one["InstanceProfileName"]
            removals = [
                f"aws iam remove-role-from-instance-profile --instance-profile-name {name} "
                f"--role-name {role['RoleName']}{options}"
                for role in one["Roles"]
            ]
            command = f"aws iam delete-instance-profile --instance-profile-name {name}{options}"
            yield Left(f"instance profile {name}", " && ".join([*removals, command]), _PROFILE, (one["Arn"], name))
    listed = subject.aws.call("iam", "list_roles")["Roles"]
    found = [one for one in listed if one["RoleName"].startswith(prefixes)]
    tags = in_parallel(lambda one: _tags_of(subject, "role", one["RoleName"]), found)
    for one, its in zip(found, tags, strict=True):
        if is_owned(its, owners):
            name = one["RoleName"]
            command = (
                f"aws iam list-role-policies --role-name {name} --query PolicyNames[].[@] --output text{options} | "
                f"xargs -r -n 1 aws iam delete-role-policy --role-name {name}{options} --policy-name && "
                f"aws iam delete-role --role-name {name}{options}"
            )
            yield Left(f"IAM role {name}", command, _ROLE, (one["Arn"], name))


def _tags_of(subject: Subject, kind: str, name: str) -> list[dict[str, str]]:
    """The tags of a role or instance profile, which IAM's lists lack."""
    field = kind.title().replace("_", "")
    try:
        return subject.aws.call("iam", f"get_{kind}", **{f"{field}Name": name})[field].get("Tags", [])
    except ClientError as error:
        # Deleted since it was listed.
        if error_code(error) == "NoSuchEntity":
            return []
        raise


@search("aws other resources", types=AWS)
def others(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """Nothing else has the component's tags."""
    for arn, _ in tagged(subject, owners):
        resource = without_account(arn)
        if not ELSEWHERE.match(resource) and not any(re.fullmatch(kind.arn, resource) for kind in TAGGED):
            yield Left(arn, "delete it in the console", identities=(arn,))
