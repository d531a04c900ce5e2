"""Searches on Google Cloud: by the labels of a component, and by name or service account for what has no labels."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

from components.gcp.image import repository_role
from preflight.errors import Unchecked
from preflight.gcp.api import GoogleError
from preflight.subject import Subject
from preview.graph import value_at

from .model import Left, search
from .owner import Owner

GCP = ("gcp:*",)
_FLEX, _STANDARD = (
    "gcp:appengine/flexibleAppVersion:FlexibleAppVersion",
    "gcp:appengine/standardAppVersion:StandardAppVersion",
)
_NETWORK = "gcp:compute/network:Network"
_ACCOUNTS = ("server", "placeholder", "client", "canary")


def _pages(subject: Subject, url: str, permission: str, field: str, **parameters: Any) -> list[dict[str, Any]]:
    """The items of all pages; none where there is no such parent, or where the API was never enabled."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {}
    try:
        while True:
            page = subject.gcp.get(
                url, permission, **parameters, **({"pageToken": page["nextPageToken"]} if page else {})
            )
            found += page.get(field, [])
            if not page.get("nextPageToken"):
                return found
    except GoogleError as error:
        if error.status == 404:
            return found
        raise
    except Unchecked as error:
        # Without its API, a service has no resources.
        if "is disabled until" in str(error):
            return found
        raise


def _exists(subject: Subject, url: str, permission: str) -> bool:
    try:
        return subject.gcp.exists(url, permission)
    except Unchecked as error:
        if "is disabled until" in str(error):
            return False
        raise


def _owned(labels: Any, owners: list[Owner]) -> bool:
    return any(owner.labels.items() <= dict(labels or {}).items() for owner in owners)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _email(subject: Subject, owner: Owner, role: str) -> str:
    return f"{owner.physical_name(role, 30)}@{subject.gcp.project}.iam.gserviceaccount.com"


@search("gcp App Engine versions", types=GCP)
def versions(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No App Engine version runs as a service account of the stack: the provider forgets one whose creation timed out,
    and its instances cost money. The last version of the service `default` cannot be deleted."""
    project = subject.gcp.project
    accounts = {_email(subject, owner, role) for owner in owners for role in _ACCOUNTS}
    services = {str(one.inputs["service"]) for one in subject.created(_FLEX)} | {"default"}
    for service in sorted(services):
        url = f"https://appengine.googleapis.com/v1/apps/{project}/services/{service}/versions"
        every = _pages(subject, url, "appengine.versions.list", "versions", view="FULL")
        ours = [one for one in every if one.get("serviceAccount") in accounts]
        only_ours = len(ours) == len(every)
        for one in ours:
            name = one["id"]
            version = f"{name} --service {service} --project {project}"
            if service == "default" and only_ours:
                if one.get("env") == "standard" or one.get("servingStatus") != "SERVING":
                    continue
                command = f"gcloud app versions stop {version}"
            elif only_ours:
                command = f"gcloud app services delete {service} --project {project}"
            else:
                command = f"gcloud app versions delete {version}"
            yield Left(
                f"App Engine version {name} of the service {service} ({str(one.get('servingStatus', '')).lower()})",
                command,
                _STANDARD if one.get("env") == "standard" else _FLEX,
                (f"apps/{project}/services/{service}/versions/{name}",),
            )


@search("gcp Cloud SQL instances", types=GCP)
def databases(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No database instance is left."""
    project = subject.gcp.project
    url = f"https://sqladmin.googleapis.com/v1/projects/{project}/instances"
    for one in _pages(subject, url, "cloudsql.instances.list", "items"):
        if _owned(value_at(one, "settings", "userLabels"), owners):
            name = one["name"]
            protected = value_at(one, "settings", "deletionProtectionEnabled")
            unprotect = f"gcloud sql instances patch {name} --no-deletion-protection --project {project} && "
            yield Left(
                f"Cloud SQL instance {name}",
                (unprotect if protected else "") + f"gcloud sql instances delete {name} --project {project}",
                "gcp:sql/databaseInstance:DatabaseInstance",
                (name,),
            )


@search("gcp buckets", types=GCP)
def buckets(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No Cloud Storage bucket is left."""
    project = subject.gcp.project
    url = "https://storage.googleapis.com/storage/v1/b"
    for one in _pages(subject, url, "storage.buckets.list", "items", project=project):
        if _owned(one.get("labels"), owners):
            name = one["name"]
            yield Left(
                f"bucket {name}",
                f"gcloud storage rm --recursive --all-versions gs://{name} --project {project}",
                "gcp:storage/bucket:Bucket",
                (name,),
            )


@search("gcp repositories", types=GCP)
def repositories(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No repository of Artifact Registry is left."""
    project, region = subject.gcp.project, _region(subject)
    # Also that without a key, from before one was set.
    roles = dict.fromkeys((repository_role(None), repository_role(subject.setting("gcp.kmsKey") or None)))
    for owner, role in itertools.product(owners, roles):
        name = owner.physical_name(role, 63)
        path = f"projects/{project}/locations/{region}/repositories/{name}"
        if _exists(subject, f"https://artifactregistry.googleapis.com/v1/{path}", "artifactregistry.repositories.get"):
            yield Left(
                f"repository {name}",
                f"gcloud artifacts repositories delete {name} --location {region} --project {project}",
                "gcp:artifactregistry/repository:Repository",
                (path,),
            )


@search("gcp secrets", types=GCP)
def secrets(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No secret is left."""
    project = subject.gcp.project
    for owner in owners:
        for role in ("oauth-client-secret", "database-password"):
            name = owner.physical_name(role, 255)
            path = f"projects/{project}/secrets/{name}"
            if _exists(subject, f"https://secretmanager.googleapis.com/v1/{path}", "secretmanager.secrets.get"):
                yield Left(
                    f"secret {name}",
                    f"gcloud secrets delete {name} --project {project}",
                    "gcp:secretmanager/secret:Secret",
                    (path,),
                )


@search("gcp logs", types=GCP)
def logs(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No log sink, exclusion, log-based metric or log bucket is left. A deleted log bucket stays for a week."""
    project = subject.gcp.project
    api = "https://logging.googleapis.com/v2"
    for owner in owners:
        name = owner.physical_name("log", 100)
        if _exists(subject, f"{api}/projects/{project}/sinks/{name}", "logging.sinks.get"):
            command = f"gcloud logging sinks delete {name} --project {project}"
            yield Left(f"log sink {name}", command, "gcp:logging/projectSink:ProjectSink", _ids(project, "sinks", name))
        if _exists(subject, f"{api}/projects/{project}/exclusions/{name}", "logging.exclusions.get"):
            yield Left(
                f"log exclusion {name}",
                f"gcloud logging sinks update _Default --remove-exclusions={name} --project {project}",
                "gcp:logging/projectExclusion:ProjectExclusion",
                _ids(project, "exclusions", name),
            )
        for one in _pages(subject, f"{api}/projects/{project}/metrics", "logging.logMetrics.list", "metrics"):
            if str(one.get("description", "")).startswith(f"{owner.title}: "):
                command = f"gcloud logging metrics delete {one['name']} --project {project}"
                yield Left(f"log-based metric {one['name']}", command, "gcp:logging/metric:Metric", (one["name"],))
        url = f"{api}/projects/{project}/locations/-/buckets"
        for one in _pages(subject, url, "logging.buckets.list", "buckets"):
            bucket = _last(one["name"])
            named = re.fullmatch(rf"{re.escape(owner.physical_name('log', 80))}-[0-9a-f]{{6}}", bucket)
            if named and one.get("lifecycleState") == "ACTIVE":
                location = one["name"].split("/")[3]
                yield Left(
                    f"log bucket {bucket}",
                    f"gcloud logging buckets delete {bucket} --location {location} --project {project}",
                    "gcp:logging/projectBucketConfig:ProjectBucketConfig",
                    (one["name"],),
                )


def _ids(project: str, kind: str, name: str) -> tuple[str, str]:
    return (name, f"projects/{project}/{kind}/{name}")


@search("gcp alerts", types=GCP)
def alerts(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No alert policy, notification channel, dashboard or canary job is left."""
    project = subject.gcp.project
    url = f"https://monitoring.googleapis.com/v3/projects/{project}"
    for one in _pages(subject, f"{url}/alertPolicies", "monitoring.alertPolicies.list", "alertPolicies"):
        if _owned(one.get("userLabels"), owners):
            yield Left(
                f"alert policy {one['displayName']}",
                f"gcloud monitoring policies delete {one['name']} --project {project}",
                "gcp:monitoring/alertPolicy:AlertPolicy",
                (one["name"],),
            )
    found = _pages(
        subject, f"{url}/notificationChannels", "monitoring.notificationChannels.list", "notificationChannels"
    )
    for one in found:
        if _owned(one.get("userLabels"), owners):
            yield Left(
                f"notification channel {one['displayName']}",
                f"gcloud beta monitoring channels delete {one['name']} --project {project}",
                "gcp:monitoring/notificationChannel:NotificationChannel",
                (one["name"],),
            )
    url = f"https://monitoring.googleapis.com/v1/projects/{project}/dashboards"
    for one in _pages(subject, url, "monitoring.dashboards.list", "dashboards"):
        if _owned(one.get("labels"), owners) or one["displayName"] in {owner.title for owner in owners}:
            yield Left(
                f"dashboard {one['displayName']}",
                f"gcloud monitoring dashboards delete {one['name']} --project {project}",
                "gcp:monitoring/dashboard:Dashboard",
                (one["name"],),
            )
    for owner in owners:
        name, region = owner.physical_name("canary", 500), _region(subject)
        path = f"projects/{project}/locations/{region}/jobs/{name}"
        if _exists(subject, f"https://cloudscheduler.googleapis.com/v1/{path}", "cloudscheduler.jobs.get"):
            yield Left(
                f"Cloud Scheduler job {name}",
                f"gcloud scheduler jobs delete {name} --location {region} --project {project}",
                "gcp:cloudscheduler/job:Job",
                (path,),
            )


@search("gcp network", types=GCP)
def network(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No VPC network is left, with what is in it, and no connection to Google services or address range."""
    project, region = subject.gcp.project, _region(subject)
    compute = f"https://compute.googleapis.com/compute/v1/projects/{project}"
    listed = _pages(subject, f"{compute}/global/networks", "compute.networks.list", "items")
    titles = {owner.title for owner in owners}
    networks = {one["selfLink"]: one["name"] for one in listed if one.get("description") in titles}
    ids = {link: f"projects/{project}/global/networks/{name}" for link, name in networks.items()}
    for link, name in networks.items():
        # Google's side of the connection can stay for days.
        connections = _pages(
            subject,
            "https://servicenetworking.googleapis.com/v1/services/servicenetworking.googleapis.com/connections",
            "servicenetworking.services.get",
            "connections",
            network=f"projects/{subject.gcp.number()}/global/networks/{name}",
        )
        if connections:
            command = f"gcloud services vpc-peerings delete --network {name} --project {project}"
            yield Left(f"connection of {name} to Google services", command, within=(_NETWORK, ids[link]))
    for one in _pages(subject, f"{compute}/global/addresses", "compute.globalAddresses.list", "items"):
        if _owned(one.get("labels"), owners):
            name = one["name"]
            command = f"gcloud compute addresses delete {name} --global --project {project}"
            identity = f"projects/{project}/global/addresses/{name}"
            yield Left(f"address range {name}", command, "gcp:compute/globalAddress:GlobalAddress", (identity,))
    for what, path, permission, noun in (
        ("router", f"regions/{region}/routers", "compute.routers.list", f"routers delete {{}} --region {region}"),
        # App Engine may leave some that are not the stack's.
        ("firewall rule", "global/firewalls", "compute.firewalls.list", "firewall-rules delete {}"),
        (
            "subnetwork",
            f"regions/{region}/subnetworks",
            "compute.subnetworks.list",
            f"networks subnets delete {{}} --region {region}",
        ),
    ):
        for one in _pages(subject, f"{compute}/{path}", permission, "items") if networks else []:
            if one["network"] in networks:
                command = f"gcloud compute {noun.format(one['name'])} --project {project}"
                yield Left(f"{what} {one['name']}", command, within=(_NETWORK, ids[one["network"]]))
    for link, name in networks.items():
        command = f"gcloud compute networks delete {name} --project {project}"
        yield Left(f"VPC network {name}", command, _NETWORK, (ids[link],))


@search("gcp service accounts", types=GCP)
def accounts(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No service account of the stack is left."""
    project = subject.gcp.project
    for owner in owners:
        for role in _ACCOUNTS:
            email = _email(subject, owner, role)
            path = f"projects/{project}/serviceAccounts/{email}"
            if _exists(subject, f"https://iam.googleapis.com/v1/{path}", "iam.serviceAccounts.get"):
                yield Left(
                    f"service account {email}",
                    f"gcloud iam service-accounts delete {email} --project {project}",
                    "gcp:serviceaccount/account:Account",
                    (path,),
                )


def _region(subject: Subject) -> str:
    return str(subject.setting("gcp.region") or subject.stack.config.get("gcp:region"))
