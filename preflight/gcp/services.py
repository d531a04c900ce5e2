"""App Engine, Compute Engine's default account and network, Cloud SQL, the OAuth client, members and names."""

import base64
import datetime
import re
import urllib.parse

import requests

from components.gcp import regions
from preview.graph import value_at

from ..errors import Unchecked
from ..model import Fault, check
from ..runner import in_parallel
from ..subject import Subject
from .api import GoogleError

_APPLICATION = "gcp:appengine/application:Application"
_FLEX = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
_DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
_APP_ENGINE = "https://appengine.googleapis.com/v1/apps"
_COMPUTE = "https://compute.googleapis.com/compute/v1/projects"
_SQL = "https://sqladmin.googleapis.com/v1/projects"
_IAM = "https://iam.googleapis.com/v1/projects"
_CLIENT_ID = re.compile(r"(\d+)-[a-z0-9]+\.apps\.googleusercontent\.com")
# https://cloud.google.com/sql/docs/mysql/delete-instance
_LOCKED_DAYS = 7
_AUTHORIZATION = "https://accounts.google.com/o/oauth2/v2/auth"


@check("gcp App Engine application", types=(_APPLICATION, _FLEX))
def application(subject: Subject) -> str | list[Fault]:
    """The App Engine application exists if `app.mode` says so, and in the region; otherwise there is none yet."""
    try:
        found = subject.gcp.get(f"{_APP_ENGINE}/{subject.gcp.project}", "appengine.applications.get")
    except GoogleError as error:
        if error.status != 404:
            raise
        found = None
    except Unchecked as error:
        if "is disabled until" not in str(error):
            raise
        # An application needs its API.
        found = None
    mode = subject.setting("gcp.app.mode") or "create"
    if found is None:
        if mode == "create":
            return "none, will be created"
        return [Fault(f"the project has no App Engine application, and app.mode is {mode}", "set app.mode to create")]
    actual = str(found["locationId"])
    wanted = [str(one.inputs["locationId"]) for one in subject.created(_APPLICATION)]
    faults: list[Fault] = []
    if any(regions.region_of(location) != regions.region_of(actual) for location in wanted):
        faults.append(
            Fault(
                f"the application is in {actual}, not in {wanted[0]}, and cannot move",
                f"set app.location to {actual}, or use another project",
            )
        )
    if mode == "create" and subject.missing(_APPLICATION):
        faults.append(
            Fault("the project has an App Engine application already", "set app.mode to import (or existing)")
        )
    if found.get("servingStatus") != "SERVING":
        faults.append(
            Fault(
                f"the application's status is {found.get('servingStatus')}",
                "enable it in the console: App Engine, Settings",
            )
        )
    return faults or actual


@check("gcp App Engine location", types=(_FLEX,))
def location(subject: Subject) -> str | list[Fault]:
    """App Engine's flexible environment is available in the location."""
    wanted = {str(one.inputs["locationId"]) for one in subject.created(_APPLICATION)}
    if not wanted:
        return "that of the existing application"
    found = subject.gcp.get(f"{_APP_ENGINE}/{subject.gcp.project}/locations", "", pageSize=200)
    flexible = {
        str(one["locationId"])
        for one in found.get("locations", [])
        if value_at(one, "metadata", "flexibleEnvironmentAvailable")
    }
    faults = [
        Fault(
            f"the flexible environment is not available in {name}",
            f"set app.location to one of {', '.join(sorted(flexible))}",
        )
        for name in sorted(wanted - flexible)
    ]
    return faults or ", ".join(sorted(wanted))


@check("gcp default compute account", types=(_FLEX,))
def compute_account(subject: Subject) -> str | list[Fault]:
    """Compute Engine's default service account exists and is enabled: without it, the flexible environment fails with
    an internal error."""
    email = f"{subject.gcp.number()}-compute@developer.gserviceaccount.com"
    try:
        found = subject.gcp.get(f"{_IAM}/{subject.gcp.project}/serviceAccounts/{email}", "iam.serviceAccounts.get")
    except GoogleError as error:
        if error.status != 404:
            raise
        if not subject.gcp.enabled("compute.googleapis.com"):
            return "will be created with Compute Engine's API"
        return [Fault(f"there is no {email}", "undelete the account (`gcloud iam service-accounts undelete`)")]
    if found.get("disabled"):
        return [Fault(f"{email} is disabled", f"run `gcloud iam service-accounts enable {email}`")]
    return email


@check("gcp network", types=(_FLEX,))
def network(subject: Subject) -> str | list[Fault]:
    """The network of the instances exists, unless the stack creates it: `default`, or `network.vpcName`."""
    if subject.created("gcp:compute/network:Network"):
        return "will be created"
    name = str(subject.setting("gcp.network.vpcName") or "default")
    places = [f"{_COMPUTE}/{subject.gcp.project}/global/networks/{name}"]
    permissions = ["compute.networks.get"]
    subnetwork = subject.setting("gcp.network.subnetwork")
    if subnetwork:
        where = subject.app_engine_region()
        places.append(f"{_COMPUTE}/{subject.gcp.project}/regions/{where}/subnetworks/{subnetwork}")
        permissions.append("compute.subnetworks.get")
    faults = [
        Fault(
            f"the project has no {'/'.join(place.split('/')[-2:])}",
            "set database.privateIp: true (a new VPC), or network.vpcName to an existing one",
        )
        for place, permission in zip(places, permissions, strict=True)
        if not subject.gcp.exists(place, permission)
    ]
    return faults or name


@check("gcp Cloud SQL tier", types=(_DATABASE,))
def sql_tier(subject: Subject) -> str | list[Fault]:
    """Cloud SQL offers the machine type in the region; custom ones (db-custom-...) are not listed by name."""
    found = subject.gcp.get(f"{_SQL}/{subject.gcp.project}/tiers", "cloudsql.instances.list").get("items", [])
    offered = {str(one["tier"]): set(map(str, one.get("region", []))) for one in found}
    faults: list[Fault] = []
    shown: list[str] = []
    for database in subject.created(_DATABASE):
        tier, where = str(value_at(database.inputs, "settings", "tier")), str(database.inputs["region"])
        shown.append(tier)
        everywhere = set[str]().union(*offered.values())
        if where not in everywhere:
            faults.append(Fault(f"Cloud SQL is not available in {where}", "set gcp:region to another region"))
        elif not tier.startswith("db-custom-") and where not in offered.get(tier, set()):
            here = sorted(name for name, places in offered.items() if where in places)
            faults.append(Fault(f"{tier} is not offered in {where}", f"set database.tier to one of {', '.join(here)}"))
    return faults or ", ".join(shown)


@check(
    "gcp Cloud SQL name",
    types=(_DATABASE,),
    when=lambda subject: subject.setting("gcp.database.instanceName") is not None,
    concerns="`database.instanceName`",
)
def sql_name(subject: Subject) -> str | list[Fault]:
    """The name of the database instance is free, and was not deleted in the last week, which locks it."""
    name = str(subject.setting("gcp.database.instanceName"))
    if not subject.missing(_DATABASE):
        return f"{name}, of this stack"
    remedy = "set database.instanceName to another name, or leave it out"
    if subject.gcp.exists(f"{_SQL}/{subject.gcp.project}/instances/{name}", "cloudsql.instances.get"):
        return [Fault(f"the project has an instance {name}", remedy)]
    url = f"{_SQL}/{subject.gcp.project}/operations"
    operations = subject.gcp.get(url, "cloudsql.instances.list", instance=name).get("items", [])
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=_LOCKED_DAYS)
    for operation in operations:
        if operation.get("operationType") == "DELETE":
            ended = datetime.datetime.fromisoformat(str(operation["endTime"]))
            if ended > since:
                free = ended + datetime.timedelta(days=_LOCKED_DAYS)
                return [
                    Fault(f"{name} was deleted on {ended:%Y-%m-%d}: its name is locked until {free:%Y-%m-%d}", remedy)
                ]
    return f"{name} is free"


def _client_id(subject: Subject) -> str | None:
    found = subject.setting("gcp.oauthClient.clientId")
    return found if isinstance(found, str) else None


@check(
    "gcp OAuth client",
    types=(_APPLICATION,),
    when=lambda subject: _client_id(subject) is not None,
    concerns="`oauthClient.clientId`",
)
def oauth_client(subject: Subject) -> str | list[Fault]:
    """The OAuth client's ID has Google's form, and is one of this project."""
    client_id = str(_client_id(subject))
    found = _CLIENT_ID.fullmatch(client_id)
    if found is None:
        return [
            Fault(
                f"{client_id} has not the form NUMBER-LETTERS.apps.googleusercontent.com",
                "copy the client's ID from the console: Google Auth Platform, Clients",
            )
        ]
    if found[1] != subject.gcp.number():
        return [
            Fault(
                f"the OAuth client is of project {found[1]}, the stack's is {subject.gcp.number()}",
                "create a client in the stack's project (docs/gcp.md#the-oauth-client)",
            )
        ]
    return client_id


@check(
    "gcp OAuth redirect",
    types=(_APPLICATION,),
    when=lambda subject: _client_id(subject) is not None,
    concerns="`oauthClient.clientId`",
)
def oauth_redirect(subject: Subject) -> str | list[Fault]:
    """Google's authorization endpoint accepts the client with the redirect URI of Identity-Aware Proxy."""
    client_id = str(_client_id(subject))
    redirect = f"https://iap.googleapis.com/v1/oauth/clientIds/{client_id}:handleRedirect"
    query = {"client_id": client_id, "redirect_uri": redirect, "response_type": "code", "scope": "openid email"}
    errors = authorization_errors(subject.fetch(_AUTHORIZATION, params=query))
    if "redirect_uri_mismatch" in errors:
        return [
            Fault("the OAuth client lacks the redirect URI of Identity-Aware Proxy", f"add {redirect} to the client")
        ]
    if errors & {"invalid_client", "deleted_client", "disabled_client"}:
        return [Fault(f"there is no OAuth client {client_id}", "create it (docs/gcp.md#the-oauth-client)")]
    if errors:
        raise Unchecked(f"Google's authorization endpoint: {', '.join(sorted(errors))}")
    return "accepted"


_KNOWN_ERRORS = (
    *("redirect_uri_mismatch", "invalid_client", "deleted_client", "disabled_client", "invalid_request"),
    *("unauthorized_client", "access_denied", "org_internal", "admin_policy_enforced"),
)


def authorization_errors(response: requests.Response) -> set[str]:
    """Return OAuth's error names in the response of the authorization endpoint; empty if it goes on to a login page.

    Google redirects to an error page, whose query has the name in Base64 (authError).
    """
    location_header = response.headers.get("Location", "")
    if response.is_redirect and "/oauth/error" not in location_header:
        return set()
    encoded = urllib.parse.parse_qs(urllib.parse.urlsplit(location_header).query).get("authError", [""])[0]
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        decoded = base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_")).decode(errors="replace")
    except ValueError:
        decoded = ""
    text = f"{decoded} {response.text}"
    return {name for name in _KNOWN_ERRORS if name in text} or {f"HTTP {response.status_code}"}


@check("gcp members", types=("gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember",))
def members(subject: Subject) -> str | list[Fault]:
    """The service accounts that are members exist; users, groups and domains cannot be looked up without rights in
    their organization."""
    made = {
        f"{account.inputs['accountId']}@{subject.gcp.project}.iam.gserviceaccount.com"
        for account in subject.created("gcp:serviceaccount/account:Account")
    }
    listed = {str(member) for one in subject.graph.resources if (member := one.inputs.get("member"))}
    accounts = sorted(
        {name.removeprefix("serviceAccount:") for name in listed if name.startswith("serviceAccount:")} - made
    )
    # Google's own accounts, such as App Engine's agent, are made by its services.
    user_made = [name for name in accounts if re.fullmatch(r"[^@]+@[a-z0-9-]+\.iam\.gserviceaccount\.com", name)]

    def absent(email: str) -> bool:
        owner = email.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
        return not subject.gcp.exists(f"{_IAM}/{owner}/serviceAccounts/{email}", "iam.serviceAccounts.get")

    faults = [
        Fault(
            f"there is no service account {email}",
            f"create it (`gcloud iam service-accounts create {email.partition('@')[0]}`)",
        )
        for email, is_absent in zip(user_made, in_parallel(absent, user_made), strict=True)
        if is_absent
    ]
    others = sum(name.startswith(("user:", "group:", "domain:", "principal")) for name in listed)
    return faults or f"{len(user_made)} service accounts exist; {others} other members are not looked up"


_NAMED = {
    "gcp:secretmanager/secret:Secret": (
        "secret {secretId}",
        "https://secretmanager.googleapis.com/v1/projects/{project}/secrets/{secretId}",
        "secretmanager.secrets.get",
    ),
    "gcp:serviceaccount/account:Account": (
        "service account {accountId}",
        _IAM + "/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com",
        "iam.serviceAccounts.get",
    ),
    "gcp:artifactregistry/repository:Repository": (
        "repository {repositoryId}",
        "https://artifactregistry.googleapis.com/v1/projects/{project}/locations/{location}/repositories/{repositoryId}",
        "artifactregistry.repositories.get",
    ),
    "gcp:logging/projectSink:ProjectSink": (
        "log sink {name}",
        "https://logging.googleapis.com/v2/projects/{project}/sinks/{name}",
        "logging.sinks.get",
    ),
    "gcp:storage/bucket:Bucket": (
        "bucket {name}",
        "https://storage.googleapis.com/storage/v1/b/{name}",
        "storage.buckets.get",
    ),
}


@check("gcp names", types=tuple(_NAMED))
def names(subject: Subject) -> str | list[Fault]:
    """The names that the stack chooses itself (secrets, service accounts, repository, log sink, bucket) are free, or in
    its state."""
    wanted = [
        (
            resource,
            what.format(**resource.inputs),
            url.format(**{**resource.inputs, "project": subject.gcp.project}),
            permission,
        )
        for resource in subject.created(*_NAMED)
        for what, url, permission in [_NAMED[resource.type]]
        # Pulumi names the others, with a random suffix.
        if resource.type != "gcp:storage/bucket:Bucket" or "name" in resource.inputs
    ]

    def taken(url: str, permission: str) -> bool:
        try:
            return subject.gcp.exists(url, permission)
        except Unchecked as error:
            # Without its API, a service has no resources.
            if "is disabled until" in str(error):
                return False
            raise

    found = in_parallel(lambda one: taken(one[2], one[3]), wanted)
    present = [(resource, what) for (resource, what, _, _), is_taken in zip(wanted, found, strict=True) if is_taken]
    if not present:
        return "free"
    deployed = subject.state.urns()
    return [
        Fault(f"the {what} exists, and is not in the stack's state", "delete it, or use another stack name or project")
        for resource, what in present
        if resource.urn not in deployed
    ] or "free, or of this stack"
