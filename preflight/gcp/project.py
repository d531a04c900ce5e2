"""Credentials, project, billing, APIs, permissions, organization policies, regions and quotas."""

import re
from collections.abc import Callable

from preview.graph import strings_in, value_at

from ..errors import Unchecked
from ..model import Check, Fault, check
from ..subject import Subject
from .api import GoogleError, RejectedError
from .permissions import permissions_of

GCP = ("gcp:*",)
_RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com"
_FLEX = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
_BUCKET = "gcp:storage/bucket:Bucket"
_DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
_SERVICE = "gcp:projects/service:Service"
# The program enables the other APIs with them.
_FIRST_APIS = ("cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com")
# https://cloud.google.com/resource-manager/reference/rest/v1/projects/testIamPermissions
_PERMISSIONS_AT_ONCE = 100
_SHOWN = 15
_INVALID = re.compile(r"Permission (\S+) is not valid for this resource")


@check("gcp credentials", types=GCP, concerns="every Google Cloud stack")
def credentials(subject: Subject) -> str | list[Fault]:
    """Google issues a token for the Application Default Credentials."""
    try:
        return subject.gcp.principal()
    except RejectedError as error:
        return [Fault(str(error), "run `gcloud auth application-default login`")]


@check("gcp project", types=GCP, concerns="every Google Cloud stack")
def project(subject: Subject) -> str | list[Fault]:
    """The project exists and is active."""
    try:
        found = subject.gcp.resource()
    except GoogleError as error:
        if error.status != 404:
            raise
        return [Fault(f"there is no project {subject.gcp.project}", "correct gcp:project")]
    if found.get("state") != "ACTIVE":
        return [Fault(f"the project's state is {found.get('state')}", "restore it, or choose another project")]
    return str(found["name"])


@check("gcp billing", types=GCP, concerns="every Google Cloud stack")
def billing(subject: Subject) -> str | list[Fault]:
    """The project has an open billing account."""
    url = f"https://cloudbilling.googleapis.com/v1/projects/{subject.gcp.project}/billingInfo"
    found = subject.gcp.get(url, "resourcemanager.projects.get")
    if not found.get("billingEnabled"):
        return [
            Fault(
                "billing is off in the project",
                f"run `gcloud billing projects link {subject.gcp.project} --billing-account ACCOUNT`",
            )
        ]
    return str(found.get("billingAccountName", "on"))


@check("gcp APIs", types=(_SERVICE,))
def apis(subject: Subject) -> str | list[Fault]:
    """The two APIs that must be enabled before the first `up` are, and the others can be looked up."""
    parent = f"projects/{subject.gcp.project}"
    names = sorted({*_FIRST_APIS, *(str(one.inputs["service"]) for one in subject.created(_SERVICE))})
    try:
        found = subject.gcp.get(
            f"https://serviceusage.googleapis.com/v1/{parent}/services:batchGet",
            "serviceusage.services.get",
            names=[f"{parent}/services/{name}" for name in names],
        )["services"]
    except Unchecked as error:
        if "serviceusage.googleapis.com is disabled until" in str(error):
            return [_enable(subject, _FIRST_APIS)]
        raise
    enabled = {str(one["name"]).rpartition("/")[2] for one in found if one.get("state") == "ENABLED"}
    absent = [name for name in _FIRST_APIS if name not in enabled]
    if absent:
        return [_enable(subject, absent)]
    return "enabled" if set(names) <= enabled else "the others will be enabled"


def _enable(subject: Subject, names: list[str] | tuple[str, ...]) -> Fault:
    return Fault(
        f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} disabled in the project",
        f"run `gcloud services enable {' '.join(names)} --project {subject.gcp.project}`",
    )


@check("gcp permissions", types=GCP, concerns="every Google Cloud stack")
def permissions(subject: Subject) -> str | list[Fault]:
    """The deployer has the permissions that the provider needs on the project to create, read and delete the stack's
    resources. Conditions on single resources are not tested."""
    needed = permissions_of(subject.graph)
    names = sorted(needed)
    missing: list[str] = []
    for start in range(0, len(names), _PERMISSIONS_AT_ONCE):
        missing += _missing(subject, names[start : start + _PERMISSIONS_AT_ONCE])
    if not missing:
        return "none is missing"
    shown = ", ".join(f"{name} (for {needed[name]})" for name in missing[:_SHOWN])
    rest = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return [
        Fault(f"missing: {shown}{rest}", "grant the roles of docs/gcp.md#permissions-of-the-deployer, and wait minutes")
    ]


def _missing(subject: Subject, names: list[str]) -> list[str]:
    """The permissions that the deployer lacks on the project, without those that cannot be tested there."""
    url = f"{_RESOURCE_MANAGER}/v3/projects/{subject.gcp.project}:testIamPermissions"
    try:
        found = subject.gcp.query(url, "", {"permissions": names})
    except GoogleError as error:
        invalid = _INVALID.search(str(error))
        if invalid is None or invalid[1] not in names:
            raise
        return _missing(subject, [name for name in names if name != invalid[1]])
    return [name for name in names if name not in found.get("permissions", [])]


def _policy(subject: Subject, constraint: str) -> dict[str, object]:
    """The policy in effect, by the API that is enabled before the first `up` (that of orgpolicy often is not)."""
    url = f"{_RESOURCE_MANAGER}/v1/projects/{subject.gcp.project}:getEffectiveOrgPolicy"
    return subject.gcp.query(url, "orgpolicy.policy.get", {"constraint": f"constraints/{constraint}"})


def _boolean_constraint(
    constraint: str,
    types: tuple[str, ...],
    problem: str,
    remedy: str,
    sentence: str,
    *,
    when: Callable[[Subject], bool] = lambda _: True,
) -> Check:
    def function(subject: Subject) -> str | list[Fault]:
        enforced = value_at(_policy(subject, constraint), "booleanPolicy", "enforced")
        return [Fault(f"{constraint} is enforced: {problem}", remedy)] if enforced else "not enforced"

    function.__doc__ = sentence
    return check(f"gcp policy {constraint}", types=types, when=when)(function)


def _default_network(subject: Subject) -> bool:
    """Whether the instances are in the project's network `default`."""
    return any(not value_at(version.inputs, "network", "name") for version in subject.created(_FLEX))


def _external(subject: Subject) -> bool:
    return any(
        value_at(version.inputs, "network", "instanceIpMode") != "INTERNAL" for version in subject.created(_FLEX)
    )


@check(
    "gcp policy compute.vmExternalIpAccess",
    types=(_FLEX,),
    when=_external,
    concerns="App Engine instances with external addresses",
)
def external_addresses(subject: Subject) -> str | list[Fault]:
    """The organization policy compute.vmExternalIpAccess lets instances have external addresses."""
    policy = _policy(subject, "compute.vmExternalIpAccess")
    denied = value_at(policy, "listPolicy", "allValues") == "DENY"
    # Values are single instances, which App Engine's are not.
    if denied or value_at(policy, "listPolicy", "allowedValues"):
        return [
            Fault(
                "compute.vmExternalIpAccess forbids the external addresses of App Engine's instances",
                "ask for an exception for the project (an organization policy administrator)",
            )
        ]
    return "allowed"


_MEMBER_TYPES = (
    "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember",
    "gcp:serviceaccount/iAMMember:IAMMember",
)


@check("gcp policy iam.allowedPolicyMemberDomains", types=_MEMBER_TYPES)
def allowed_members(subject: Subject) -> str | list[Fault]:
    """The organization policy iam.allowedPolicyMemberDomains admits the members of other domains, if there are any."""
    policy = _policy(subject, "iam.allowedPolicyMemberDomains")
    allowed = value_at(policy, "listPolicy", "allowedValues")
    if not allowed and value_at(policy, "listPolicy", "allValues") != "DENY":
        return "every domain"
    members = {str(one.inputs["member"]) for one in subject.created(*_MEMBER_TYPES)}
    domains = sorted({re.sub(r".*[:@]", "", name) for name in members if re.match(r"(user|group|domain):", name)})
    if not domains:
        return "service accounts only"
    # The policy has customer IDs; https://cloud.google.com/resource-manager/reference/rest/v3/organizations/search
    url = f"{_RESOURCE_MANAGER}/v3/organizations:search"
    # The search needs no permission, and finds the organizations that the deployer may get.
    organizations = subject.gcp.get(url, "").get("organizations", [])
    customers = {str(one["displayName"]): str(one.get("directoryCustomerId")) for one in organizations}
    admitted = {text.removeprefix("is:") for text in strings_in(allowed or [])}
    # Accounts of gmail.com are in no organization.
    refused = [name for name in domains if name == "gmail.com" or customers.get(name, "?") not in {*admitted, "?"}]
    if refused:
        return [
            Fault(
                f"the policy admits {', '.join(sorted(admitted)) or 'no domain'}, not {', '.join(refused)}",
                "ask for an exception for the project, or remove these members (access.members)",
            )
        ]
    unknown = [name for name in domains if name not in customers]
    if unknown:
        known = ", ".join(sorted(admitted))
        raise Unchecked(
            f"the policy admits {known}; which domains they are is not visible ({', '.join(unknown)})",
            "resourcemanager.organizations.get",
        )
    return ", ".join(domains)


@check("gcp policy storage.uniformBucketLevelAccess", types=(_BUCKET,))
def uniform_access(subject: Subject) -> str | list[Fault]:
    """Every bucket has uniform access, if the organization policy storage.uniformBucketLevelAccess demands it."""
    if not value_at(_policy(subject, "storage.uniformBucketLevelAccess"), "booleanPolicy", "enforced"):
        return "not enforced"
    return [
        Fault(f"the bucket {bucket.name} has no uniform access", "set uniform_bucket_level_access on the bucket")
        for bucket in subject.created(_BUCKET)
        if not bucket.inputs.get("uniformBucketLevelAccess")
    ] or "enforced, and every bucket has it"


POLICIES = (
    external_addresses,
    _boolean_constraint(
        "compute.skipDefaultNetworkCreation",
        (_FLEX,),
        "new projects have no network `default`, which the instances use",
        "set database.privateIp: true (a new VPC), or network.vpcName",
        "The organization policy compute.skipDefaultNetworkCreation is off, if instances use the network `default`.",
        when=_default_network,
    ),
    _boolean_constraint(
        "compute.requireOsLogin",
        (_FLEX,),
        "App Engine's flexible environment does not start instances with OS Login",
        "ask for an exception for the project (an organization policy administrator)",
        "The organization policy compute.requireOsLogin is off: App Engine's flexible environment does not support it.",
    ),
    _boolean_constraint(
        "sql.restrictPublicIp",
        (_DATABASE,),
        "the database cannot have a public address",
        "set database.privateIp: true",
        "The organization policy sql.restrictPublicIp is off, if the database has a public address.",
        when=lambda subject: any(
            value_at(one.inputs, "settings", "ipConfiguration", "ipv4Enabled") for one in subject.created(_DATABASE)
        ),
    ),
    uniform_access,
    allowed_members,
)


@check("gcp region", types=(_FLEX,))
def region(subject: Subject) -> str | list[Fault]:
    """Compute Engine's region of App Engine is up, and its quotas suffice for the instances and a rolling update."""
    name = subject.app_engine_region()
    url = f"https://compute.googleapis.com/compute/v1/projects/{subject.gcp.project}/regions/{name}"
    try:
        found = subject.gcp.get(url, "compute.regions.get")
    except GoogleError as error:
        if error.status != 404:
            raise
        return [Fault(f"there is no region {name} for the project", "set gcp:region to another region")]
    if found.get("status") != "UP":
        return [Fault(f"the region {name} is {found.get('status')}", "set gcp:region to another region")]
    left = {str(one["metric"]): float(one["limit"]) - float(one["usage"]) for one in found.get("quotas", [])}
    faults = [
        Fault(f"{left[metric]:g} {metric} are left in {name}, {needed} are needed", "request an increase of the quota")
        for metric, needed in _needed(subject).items()
        if metric in left and left[metric] < needed
    ]
    return faults or name


def _needed(subject: Subject) -> dict[str, int]:
    """Compute Engine's quotas for the least number of instances, twice: the old and the new ones of a rollout."""
    cores = instances = 0
    for version in subject.missing(_FLEX):
        least = int(value_at(version.inputs, "automaticScaling", "minTotalInstances") or 2)
        instances += 2 * least
        cores += 2 * least * int(value_at(version.inputs, "resources", "cpu") or 1)
    return {"CPUS": cores, "IN_USE_ADDRESSES": instances if _external(subject) else 0}
