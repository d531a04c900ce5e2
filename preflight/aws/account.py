"""Credentials, account and region."""

import re
from collections.abc import Iterator

from preview.graph import strings_in

from ..errors import Unchecked
from ..model import Fault, check
from ..subject import Subject
from .api import RejectedError

AWS = ("aws:*",)
_ZONES = "aws:index/getAvailabilityZones:getAvailabilityZones"
_ACCOUNT_IN_ARN = re.compile(r"arn:aws[\w-]*:\w[\w-]*:[\w-]*:(\d{12}):")


@check("aws credentials", types=AWS, concerns="every AWS stack")
def credentials(subject: Subject) -> str | list[Fault]:
    """AWS accepts the credentials of the stack's profile, or of the default chain."""
    try:
        return str(subject.aws.identity()["Arn"])
    except RejectedError as error:
        return [Fault(str(error), "log in again (`aws sso login`), or correct the keys")]


@check("aws account", types=AWS, concerns="every AWS stack")
def account(subject: Subject) -> str | list[Fault]:
    """The credentials are of the account that the stack's file names in ARNs and in `aws:allowedAccountIds`."""
    actual = subject.aws.account
    faults = [
        Fault(
            f"{setting} names the account {number}; the credentials are of {actual}",
            "use credentials of that account (AWS_PROFILE or `pulumi config set aws:profile`), or correct the setting",
        )
        for setting, number in _named_accounts(subject)
        if number != actual
    ]
    return faults or actual


def _named_accounts(subject: Subject) -> Iterator[tuple[str, str]]:
    """(setting, account) in the stack's file, except for the image and the target, which may be another account's."""
    for name in ("kmsKeyArn", "permissionsBoundaryArn", "loadBalancer.certificateArn"):
        arn = subject.setting(f"aws.{name}")
        found = _ACCOUNT_IN_ARN.match(arn) if isinstance(arn, str) else None
        if found:
            yield f"mlflow:aws.{name}", found[1]
    allowed = sorted(set(re.findall(r"\d{12}", subject.stack.config.get("aws:allowedAccountIds", ""))))
    if allowed and subject.aws.account not in allowed:
        yield "aws:allowedAccountIds", " or ".join(allowed)


@check("aws region", types=AWS, concerns="every AWS stack")
def region(subject: Subject) -> str | list[Fault]:
    """The region exists and is enabled in the account."""
    name = subject.aws.region
    if not subject.stack.config.get("aws:region"):
        return [
            Fault(
                "aws:region is not set, so the region depends on the shell",
                f"run `pulumi config set aws:region {name} --stack {subject.stack.name}`",
            )
        ]
    # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRegions.html
    found = {
        str(one["RegionName"]): str(one["OptInStatus"])
        for one in subject.aws.call_in(_home(name), "ec2", "describe_regions", AllRegions=True)["Regions"]
    }
    if name not in found:
        return [Fault(f"there is no region {name}", f"set aws:region to one of {', '.join(sorted(found))}")]
    if found[name] == "not-opted-in":
        return [
            Fault(f"the region {name} is not enabled in this account", "enable it in the console: Account, Regions")
        ]
    return name


def _home(region: str) -> str:
    """A region of the same partition that exists: a wrong name has no endpoint."""
    homes = {"cn-": "cn-north-1", "us-gov-": "us-gov-west-1"}
    return next((home for prefix, home in homes.items() if region.startswith(prefix)), "us-east-1")


def zones(subject: Subject) -> list[str]:
    """Return the names of the availability zones in which a new VPC gets its subnets, as the program selects them."""
    calls = subject.calls(_ZONES)
    if not calls:
        return []
    excluded = set(strings_in(calls[0].args.get("excludeZoneIds") or []))
    found = subject.aws.call(
        "ec2", "describe_availability_zones", Filters=[{"Name": "opt-in-status", "Values": ["opt-in-not-required"]}]
    )["AvailabilityZones"]
    usable = [
        str(zone["ZoneName"]) for zone in found if zone["ZoneId"] not in excluded and zone["State"] == "available"
    ]
    wanted = len({resource.inputs.get("availabilityZone") for resource in subject.created("aws:ec2/subnet:Subnet")})
    return sorted(usable)[: max(wanted, 2)]


@check("aws availability zones", types=(_ZONES,))
def availability_zones(subject: Subject) -> str | list[Fault]:
    """The region has as many availability zones as `network.azCount` asks for."""
    found = zones(subject)
    wanted = int(subject.setting("aws.network.azCount") or 2)
    if len(found) < wanted:
        return [
            Fault(
                f"{subject.aws.region} has {len(found)} usable availability zones, the stack asks for {wanted}",
                f"set network.azCount to {len(found)}, or use another region",
            )
        ]
    return ", ".join(found)


def root(arn: str) -> bool:
    """Whether an ARN is that of an account's root user, which no policy restricts."""
    return arn.endswith(":root")


def principal_arn(subject: Subject) -> str:
    """Return the ARN of the IAM user or role of the credentials, as the policy simulator takes it. Raises Unchecked."""
    arn = str(subject.aws.identity()["Arn"])
    assumed = re.fullmatch(r"arn:([\w-]+):sts::(\d{12}):assumed-role/([^/]+)/.*", arn)
    if assumed:
        # The session's ARN has no path of the role, which the simulator needs.
        return str(subject.aws.call("iam", "get_role", RoleName=assumed[3])["Role"]["Arn"])
    if ":federated-user/" in arn:
        raise Unchecked("the policy simulator does not take federated users: use a role")
    return arn
