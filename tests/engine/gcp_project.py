"""A Google Cloud project for tests of the double."""

from pathlib import Path
from typing import Any

from tests.doubles.provider.cloud import Cloud, Resource
from tests.doubles.provider.kinds.gcp import app_engine, network, sql, storage

REGION = "europe-west1"
APIS = """appengine appengineflex artifactregistry cloudresourcemanager compute iam iap logging monitoring secretmanager
    servicenetworking sqladmin storage"""
DIGEST = f"sha256:{'0' * 64}"
MEMBER = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"
SETTINGS = "gcp:iap/settings:Settings"
HEALTH_CHECKS = {"livenessCheck": {"path": "/healthz"}, "readinessCheck": {"path": "/startupz"}}
SCALING = {"automaticScaling": {"cpuUtilization": {"targetUtilization": 0.5}}}


def flexible(**more: Any) -> dict[str, Any]:
    """Return the inputs of a flexible version."""
    image = {"deployment": {"container": {"image": f"registry.example.com/mlflow@{DIGEST}"}}}
    return {"service": "mlflow", "versionId": "v1", "runtime": "custom", **HEALTH_CHECKS, **SCALING, **image, **more}


def instance(**settings: Any) -> dict[str, Any]:
    """Return the inputs of a Cloud SQL instance."""
    return {
        "name": "test-instance",
        "region": REGION,
        "databaseVersion": "MYSQL_8_4",
        "deletionProtection": False,
        "settings": {"tier": "db-g1-small", "edition": "ENTERPRISE", **settings},
    }


class Project(Cloud):
    """A project with enabled APIs, an application, and a placeholder version on the service default."""

    def __init__(self, *, placeholder: bool = True, folder: Path = Path()) -> None:
        super().__init__(["default"], folder)
        self.apis |= {f"{api}.googleapis.com" for api in APIS.split()}
        self.application = self.create(app_engine.APPLICATION, "app", {"locationId": "europe-west"})
        if placeholder:
            code_bucket = self.create(storage.BUCKET, "code", {"name": "test-code", "location": REGION})
            self.create(storage.OBJECT, "code", {"bucket": code_bucket.id, "name": "main.py", "content": "1"})
            self.standard()

    def standard(self, **more: Any) -> Resource:
        """Create a standard version on the service default."""
        file = {"name": "main.py", "sourceUrl": "https://storage.googleapis.com/test-code/main.py"}
        version = {
            "service": "default",
            "versionId": "placeholder",
            "runtime": "python313",
            "entrypoint": {"shell": "x"},
        }
        return self.create(app_engine.STANDARD, "placeholder", {**version, "deployment": {"files": [file]}, **more})

    def version(self, name: str = "v", **more: Any) -> Resource:
        """Create a flexible version."""
        return self.create(app_engine.FLEXIBLE, name, flexible(**more))

    def create_private_database(self) -> tuple[Resource, Resource, Resource, Resource]:
        """Create (VPC, address range, peering, instance): an instance with private services access."""
        vpc = self.create(network.NETWORK, "vpc", {"name": "vpc", "autoCreateSubnetworks": False})
        address = self.create(
            network.ADDRESS,
            "addresses",
            {
                "name": "addresses",
                "purpose": "VPC_PEERING",
                "addressType": "INTERNAL",
                "prefixLength": 20,
                "network": vpc.id,
            },
        )
        peering = self.create(
            network.CONNECTION,
            "peering",
            {"network": vpc.id, "service": "servicenetworking.googleapis.com", "reservedPeeringRanges": ["addresses"]},
        )
        database = self.create(
            sql.INSTANCE, "i", instance(ipConfiguration={"ipv4Enabled": False, "privateNetwork": vpc.id})
        )
        return vpc, address, peering, database

    def delete_resource(self, resource: Resource) -> None:
        """Delete a resource."""
        self.delete(resource.kind.token, resource.id, resource.outputs)
