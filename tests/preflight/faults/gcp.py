"""Faults of a Google Cloud project."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

from tests.preflight.faults.case import Case, edited, setting
from tests.preflight.gcp_project import COMPUTE_ACCOUNT, NUMBER, PROJECT, TRAINING
from tests.preflight.stacks import World, graph_of

INSTANCE: Mapping[str, Any] = {"database": {"instanceName": "shared"}}


def _policy(constraint: str, **policy: Any) -> Callable[[World], None]:
    return lambda world: world.gcp.policies.update({constraint: policy})


def _fine_grained_bucket(world: World) -> None:
    graph = graph_of(world.stack)
    resources = [
        dataclasses.replace(one, inputs={**one.inputs, "uniformBucketLevelAccess": False})
        if (one.type, one.name) == ("gcp:storage/bucket:Bucket", "mlflow-artifacts")
        else one
        for one in graph.resources
    ]
    world.graph = dataclasses.replace(graph, resources=resources)


def _application(location: str = "europe-west", status: str = "SERVING") -> Callable[[World], None]:
    return setting("gcp", application={"locationId": location, "servingStatus": status})


def _deleted(world: World) -> None:
    world.gcp.deleted_instances["shared"] = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)


CASES: Mapping[str, tuple[Case, ...]] = {
    "gcp credentials": (
        Case(
            "gcp-dev",
            setting("gcp", has_credentials=False),
            "Reauthentication is needed",
            "gcloud auth application-default login",
        ),
    ),
    "gcp project": (
        Case("gcp-dev", edited(gcp__project="acme-other"), "there is no project acme-other", "gcp:project"),
        Case("gcp-dev", setting("gcp", state="DELETE_REQUESTED"), "DELETE_REQUESTED", "restore"),
    ),
    "gcp billing": (Case("gcp-dev", setting("gcp", billing=False), "billing is off", "gcloud billing projects link"),),
    "gcp APIs": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.enabled.remove("cloudresourcemanager.googleapis.com"),
            "cloudresourcemanager.googleapis.com is disabled",
            "gcloud services enable cloudresourcemanager",
        ),
        Case(
            "gcp-dev",
            setting("gcp", disabled_apis={"serviceusage.googleapis.com"}),
            "are disabled",
            "gcloud services enable",
        ),
    ),
    "gcp permissions": (
        Case(
            "gcp-dev",
            setting("gcp", lacking={"cloudsql.instances.create"}),
            r"cloudsql.instances.create \(for DatabaseInstance mlflow-database\)",
            "grant the roles",
            prepare=setting("gcp", not_testable={"iap.webServices.setIamPolicy"}),
        ),
    ),
    "gcp names": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.named.add(f"projects/{PROJECT}/secrets/gcp-dev-mlflow-database-password"),
            "secret gcp-dev-mlflow-database-password exists",
            "another stack name",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.update({f"gcp-dev-mlflow-server@{PROJECT}.iam.gserviceaccount.com": True}),
            "service account gcp-dev-mlflow-server exists",
            "another stack name",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.named.add("taken-bucket"),
            "bucket taken-bucket exists",
            "another stack name",
            {"artifacts": {"bucketName": "taken-bucket"}},
        ),
    ),
    "gcp policy compute.vmExternalIpAccess": (
        Case(
            "gcp-dev",
            _policy("compute.vmExternalIpAccess", listPolicy={"allValues": "DENY"}),
            "forbids the external addresses",
            "exception",
        ),
        Case(
            "gcp-dev",
            _policy("compute.vmExternalIpAccess", listPolicy={"allowedValues": ["projects/x/zones/z/instances/i"]}),
            "forbids the external addresses",
            "exception",
        ),
    ),
    "gcp policy compute.skipDefaultNetworkCreation": (
        Case(
            "gcp-dev",
            _policy("compute.skipDefaultNetworkCreation", booleanPolicy={"enforced": True}),
            "no network `default`",
            "database.privateIp",
        ),
    ),
    "gcp policy compute.requireOsLogin": (
        Case("gcp-dev", _policy("compute.requireOsLogin", booleanPolicy={"enforced": True}), "OS Login", "exception"),
    ),
    "gcp policy sql.restrictPublicIp": (
        Case(
            "gcp-dev",
            _policy("sql.restrictPublicIp", booleanPolicy={"enforced": True}),
            "public address",
            "database.privateIp",
        ),
    ),
    "gcp policy storage.uniformBucketLevelAccess": (
        Case(
            "gcp-dev",
            _fine_grained_bucket,
            "bucket mlflow-artifacts has no uniform access",
            "uniform_bucket_level_access",
            prepare=_policy("storage.uniformBucketLevelAccess", booleanPolicy={"enforced": True}),
        ),
    ),
    "gcp policy iam.allowedPolicyMemberDomains": (
        Case(
            "gcp-dev",
            _policy("iam.allowedPolicyMemberDomains", listPolicy={"allowedValues": ["C0other"]}),
            "admits C0other, not acme.test",
            "exception",
            prepare=_policy("iam.allowedPolicyMemberDomains", listPolicy={"allowedValues": ["is:C0acme"]}),
        ),
        Case(
            "gcp-dev",
            _policy("iam.allowedPolicyMemberDomains", listPolicy={"allValues": "DENY"}),
            "admits no domain",
            "exception",
        ),
    ),
    "gcp App Engine application": (
        Case("gcp-dev", _application(), "an App Engine application already", "import"),
        Case("gcp-dev", _application("us-central"), "is in us-central, not in europe-west", "another project"),
        Case("gcp-dev", _application(status="USER_DISABLED"), "USER_DISABLED", "enable it"),
        Case(
            "gcp-dev",
            setting("gcp", application=None),
            "app.mode is import",
            "app.mode to create",
            {"app": {"mode": "import"}},
            prepare=_application(),
        ),
    ),
    "gcp App Engine location": (
        Case("gcp-dev", setting("gcp", flexible=["us-central"]), "not available in europe-west", "us-central"),
    ),
    "gcp default compute account": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.pop(COMPUTE_ACCOUNT),
            "there is no 424242424242-compute",
            "undelete",
        ),
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.update({COMPUTE_ACCOUNT: False}),
            "is disabled",
            "service-accounts enable",
        ),
    ),
    "gcp network": (
        Case("gcp-dev", setting("gcp", networks=set[str]()), "no networks/default", "database.privateIp"),
        Case(
            "gcp-dev",
            setting("gcp", subnetworks=set[str]()),
            "no subnetworks/apps",
            "network.vpcName",
            {"network": {"vpcName": "shared", "subnetwork": "apps"}},
            prepare=setting("gcp", networks={"shared"}, subnetworks={"apps"}),
        ),
    ),
    "gcp region": (
        Case("gcp-dev", setting("gcp", quotas={"CPUS": (1.0, 0.0)}), "1 CPUS are left", "increase"),
        Case("gcp-dev", setting("gcp", region_status="DOWN"), "DOWN", "another region"),
        Case(
            "gcp-dev",
            setting("gcp", quotas={"IN_USE_ADDRESSES": (2.0, 1.0)}),
            "1 IN_USE_ADDRESSES are left",
            "increase",
        ),
    ),
    "gcp Cloud SQL tier": (
        Case(
            "gcp-dev",
            setting("gcp", tiers={"db-g1-small": ["us-central1"], "db-f1-micro": ["europe-west1"]}),
            "db-g1-small is not offered",
            "db-f1-micro",
        ),
        Case(
            "gcp-dev",
            setting("gcp", tiers={"db-g1-small": ["us-central1"]}),
            "not available in europe-west1",
            "gcp:region",
        ),
    ),
    "gcp Cloud SQL name": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.instances.add("shared"),
            "has an instance shared",
            "instanceName",
            INSTANCE,
        ),
        Case("gcp-dev", _deleted, "its name is locked until", "instanceName", INSTANCE),
    ),
    "gcp OAuth client": (
        Case(
            "gcp-dev",
            edited(mlflow__gcp='{"oauthClient": {"clientId": "my-client"}}'),
            "has not the form",
            "Google Auth Platform",
        ),
        Case(
            "gcp-dev",
            edited(mlflow__gcp='{"oauthClient": {"clientId": "99-abc.apps.googleusercontent.com"}}'),
            f"of project 99, the stack's is {NUMBER}",
            "docs/gcp.md",
        ),
    ),
    "gcp OAuth redirect": (
        Case("gcp-dev", setting("web", with_redirect=set[str]()), "lacks the redirect URI", ":handleRedirect"),
        Case("gcp-dev", setting("web", clients=set[str]()), "there is no OAuth client", "docs/gcp.md"),
    ),
    "gcp members": (
        Case(
            "gcp-dev",
            lambda world: world.gcp.accounts.pop(TRAINING),
            f"there is no service account {TRAINING}",
            "service-accounts create training",
        ),
    ),
}
