"""The permissions that the Google Cloud provider needs on the project, by resource type and function.

From the reference of each API's methods, https://cloud.google.com/iam/docs/permissions-reference, and the calls in the
provider's source (terraform-provider-google-beta of August 2026).
"""

from collections.abc import Mapping

from preview.graph import Graph

_CRUD = "create get update delete"
_POLICY = "getIamPolicy setIamPolicy"
_VERSION = (
    "appengine.versions: create get update delete",
    "appengine.services: get list delete",
    "appengine.applications: get",
    "appengine.operations: get",
    # https://cloud.google.com/appengine/docs/flexible/roles: deployments run as an account, and are built.
    "iam.serviceAccounts: actAs",
    "cloudbuild.builds: create get",
)
_NETWORK_OPERATIONS = ("compute.globalOperations: get", "compute.regionOperations: get")
# Lines of "group: verb verb".
FOR_TYPES: Mapping[str, tuple[str, ...]] = {
    "gcp:projects/service:Service": ("serviceusage.services: enable get list use",),
    # "Triggering service agent creation doesn't require any IAM permissions":
    # https://cloud.google.com/iam/docs/create-service-agents
    "gcp:projects/serviceIdentity:ServiceIdentity": (),
    # Permissions on the key, which is usually in a project of its own.
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": (),
    "gcp:projects/iAMMember:IAMMember": (f"resourcemanager.projects: {_POLICY}",),
    "gcp:serviceaccount/account:Account": (f"iam.serviceAccounts: {_CRUD}",),
    "gcp:serviceaccount/iAMMember:IAMMember": (f"iam.serviceAccounts: {_POLICY}",),
    "gcp:appengine/application:Application": ("appengine.applications: create get update", "appengine.operations: get"),
    "gcp:appengine/flexibleAppVersion:FlexibleAppVersion": _VERSION,
    "gcp:appengine/standardAppVersion:StandardAppVersion": _VERSION,
    "gcp:appengine/engineSplitTraffic:EngineSplitTraffic": ("appengine.services: get update",),
    # https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.domainMappings/create
    "gcp:appengine/domainMapping:DomainMapping": ("appengine.applications: get update", "appengine.operations: get"),
    "gcp:appengine/applicationUrlDispatchRules:ApplicationUrlDispatchRules": (
        "appengine.applications: get update",
        "appengine.operations: get",
    ),
    "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember": (f"iap.webServices: {_POLICY}",),
    "gcp:iap/settings:Settings": ("iap.webServices: getSettings updateSettings",),
    "gcp:sql/databaseInstance:DatabaseInstance": (f"cloudsql.instances: {_CRUD} list",),
    "gcp:sql/database:Database": (f"cloudsql.databases: {_CRUD}",),
    "gcp:sql/user:User": ("cloudsql.users: create list update delete",),
    "gcp:secretmanager/secret:Secret": (f"secretmanager.secrets: {_CRUD}",),
    "gcp:secretmanager/secretVersion:SecretVersion": ("secretmanager.versions: add access get enable disable destroy",),
    "gcp:secretmanager/secretIamMember:SecretIamMember": (f"secretmanager.secrets: {_POLICY}",),
    # `destroy` empties a bucket with forceDestroy.
    "gcp:storage/bucket:Bucket": (f"storage.buckets: {_CRUD}", "storage.objects: list delete"),
    "gcp:storage/bucketIAMMember:BucketIAMMember": (f"storage.buckets: {_POLICY}",),
    "gcp:storage/bucketObject:BucketObject": ("storage.objects: create get delete",),
    "gcp:artifactregistry/repository:Repository": (f"artifactregistry.repositories: {_CRUD}",),
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": (f"artifactregistry.repositories: {_POLICY}",),
    "docker-build:index:Image": ("artifactregistry.repositories: uploadArtifacts downloadArtifacts",),
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": (f"logging.buckets: {_CRUD}",),
    "gcp:logging/projectSink:ProjectSink": (f"logging.sinks: {_CRUD}",),
    "gcp:logging/projectExclusion:ProjectExclusion": (f"logging.exclusions: {_CRUD}",),
    "gcp:logging/metric:Metric": (f"logging.logMetrics: {_CRUD}",),
    "gcp:monitoring/alertPolicy:AlertPolicy": (f"monitoring.alertPolicies: {_CRUD}",),
    "gcp:monitoring/notificationChannel:NotificationChannel": (f"monitoring.notificationChannels: {_CRUD}",),
    "gcp:monitoring/dashboard:Dashboard": (f"monitoring.dashboards: {_CRUD}",),
    "gcp:cloudscheduler/job:Job": (f"cloudscheduler.jobs: {_CRUD}", "iam.serviceAccounts: actAs"),
    "gcp:compute/network:Network": ("compute.networks: create get delete updatePolicy", *_NETWORK_OPERATIONS),
    "gcp:compute/subnetwork:Subnetwork": ("compute.subnetworks: create get update delete", *_NETWORK_OPERATIONS),
    "gcp:compute/subnetworkIAMMember:SubnetworkIAMMember": (f"compute.subnetworks: {_POLICY}",),
    "gcp:compute/firewall:Firewall": (f"compute.firewalls: {_CRUD}", "compute.networks: updatePolicy"),
    # A NAT is a part of its router.
    "gcp:compute/router:Router": (f"compute.routers: {_CRUD}", "compute.networks: updatePolicy"),
    "gcp:compute/routerNat:RouterNat": ("compute.routers: get update", "compute.subnetworks: use"),
    "gcp:compute/globalAddress:GlobalAddress": (
        "compute.globalAddresses: createInternal deleteInternal get setLabels",
        "compute.networks: use",
    ),
    "gcp:servicenetworking/connection:Connection": (
        "servicenetworking.services: addPeering get",
        "compute.networks: removePeering",
    ),
}
FOR_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "gcp:organizations/getProject:getProject": ("resourcemanager.projects: get",),
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": ("resourcemanager.projects: get",),
    "gcp:logging/getProjectCmekSettings:getProjectCmekSettings": ("logging.cmekSettings: get",),
    "gcp:organizations/getClientConfig:getClientConfig": (),
    "gcp:secretmanager/getSecretVersion:getSecretVersion": ("secretmanager.versions: access get",),
}


def permissions_of(graph: Graph) -> dict[str, str]:
    """Return each permission with the first resource or function that needs it.

    Raises KeyError for a resource type or function that has no row.
    """
    found: dict[str, str] = {}
    for resource in graph.resources:
        if resource.type.startswith(("gcp:", "docker-build:")):
            for name in _names(FOR_TYPES[resource.type]):
                found.setdefault(name, f"{resource.type.rpartition(':')[2]} {resource.name}")
    for call in graph.calls:
        if call.token.startswith("gcp:"):
            for name in _names(FOR_FUNCTIONS[call.token]):
                found.setdefault(name, call.token.rpartition(":")[2])
    return found


def deployer_role() -> str:
    """docs/gcp-deployer-role.yaml: a custom role with all permissions above, for `gcloud iam roles create --file`."""
    rows = [*FOR_TYPES.values(), *FOR_FUNCTIONS.values()]
    names = sorted({name for lines in rows for name in _names(lines)})
    return "\n".join(
        [
            "# Generated by `make docs`. How to use it: gcp.md, Permissions of the deployer.",
            "title: MLflow deployer",
            "description: Deploys and destroys stacks of pulumi-mlflow",
            "stage: GA",
            "includedPermissions:",
            *[f"- {name}" for name in names],
            "",
        ]
    )


def _names(lines: tuple[str, ...]) -> list[str]:
    return [f"{group}.{verb}" for line in lines for group, _, verbs in [line.partition(": ")] for verb in verbs.split()]
