"""Who MLflow is in Google Cloud, and what it may: what App Engine's instances need, each on the resource if that takes
rights. App Engine's own agent gets the one to put instances into a VPC.

Left to the caller: rights of people, and of clients that go to the bucket directly.
"""

import pulumi
from pulumi_gcp import artifactregistry, compute, projects, secretmanager, serviceaccount, storage

from .artifacts import Artifacts
from .database import Database
from .image import Image
from .network import Network
from .place import Place


class Identity(pulumi.ComponentResource):
    """Without its rights an instance does not start: whoever makes some depends on it."""

    email: pulumi.Output[str]

    def __init__(
        self,
        place: Place,
        *,
        artifacts: Artifacts,
        database: Database,
        image: Image,
        network: Network,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``number`` is the project's."""
        super().__init__("mlflow:gcp:Identity", place.named("identity"), {}, opts)
        self._inside = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            place.named("server"),
            project=place.project,
            account_id=place.physical_name("server", 30),
            display_name=f"MLflow of {place.stack} ({place.name})",
            description="MLflow's instances on App Engine",
            opts=self._inside,
        )
        self.email = account.email
        self._of_project(place, account, socket=database.private_address is None)
        self._of_resources(place, account, artifacts, database, image)
        if network.subnetwork is not None:
            self._of_agent(place, network, network.subnetwork, number)
        self.register_outputs({"email": self.email})

    def _of_project(self, place: Place, account: serviceaccount.Account, *, socket: bool) -> None:
        roles = {"logs": "roles/logging.logWriter", "metrics": "roles/monitoring.metricWriter"}
        if socket:
            # Cloud SQL's proxy asks its API for the way. No instance takes rights of its own.
            roles["database"] = "roles/cloudsql.client"
        for what, role in roles.items():
            projects.IAMMember(
                place.named(f"server-{what}"),
                project=place.project,
                role=role,
                member=account.member,
                opts=self._inside,
            )

    def _of_resources(
        self, place: Place, account: serviceaccount.Account, artifacts: Artifacts, database: Database, image: Image
    ) -> None:
        storage.BucketIAMMember(
            place.named("server-artifacts"),
            bucket=artifacts.bucket,
            role="roles/storage.objectUser",
            member=account.member,
            opts=self._inside,
        )
        secretmanager.SecretIamMember(
            place.named("server-password"),
            project=place.project,
            secret_id=database.password_secret_id,
            role="roles/secretmanager.secretAccessor",
            member=account.member,
            opts=self._inside,
        )
        if image.pulled_from is not None:
            artifactregistry.RepositoryIamMember(
                place.named("server-image"),
                project=place.project,
                location=image.pulled_from.location,
                repository=image.pulled_from.repository,
                role="roles/artifactregistry.reader",
                member=account.member,
                opts=self._inside,
            )

    def _of_agent(
        self, place: Place, network: Network, subnetwork: pulumi.Output[str], number: pulumi.Input[str]
    ) -> None:
        compute.SubnetworkIAMMember(
            place.named("app-engine-network"),
            project=place.project,
            region=network.region,
            subnetwork=subnetwork,
            role="roles/compute.networkUser",
            # https://cloud.google.com/appengine/docs/flexible/using-shared-vpc
            member=pulumi.Output.concat(
                "serviceAccount:service-", number, "@gae-api-prod.google.com.iam.gserviceaccount.com"
            ),
            opts=self._inside,
        )
