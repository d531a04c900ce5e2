"""MLflow's service account and its IAM roles, granted on single resources where the resource type supports that.

App Engine's service agent gets the role for placing instances in a subnetwork. Out of scope: roles of users, and of
clients that access the bucket directly.
"""

import pulumi
from pulumi_gcp import artifactregistry, compute, projects, secretmanager, serviceaccount, sql, storage

from .artifacts import Artifacts
from .database import Database
from .deployment import Deployment
from .image import Image
from .network import Network


class Identity(pulumi.ComponentResource):
    """The service account of MLflow's instances; the service depends on it, since instances need its roles to start."""

    email: pulumi.Output[str]
    """E-mail address of the service account."""
    database_user: pulumi.Input[str]
    """Name of MLflow's database user."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        artifacts: Artifacts,
        database: Database,
        image: Image,
        network: Network,
        number: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``number`` is the project number."""
        super().__init__("mlflow:gcp:Identity", deployment.component, {}, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            deployment.logical_name("server"),
            project=deployment.project,
            account_id=deployment.physical_name("server", 30),
            display_name=pulumi.Output.concat("MLflow of ", deployment.stack, " (", deployment.name, ")"),
            description="MLflow's instances on App Engine",
            # Roles that others granted to it do not apply to a new account with the same name.
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        self.email = account.email
        self._grant_on_project(deployment, account, iam_login=database.user is None)
        self._grant_on_resources(deployment, account, artifacts, database, image)
        self.database_user = database.user or self._create_database_user(deployment, account, database)
        if network.subnetwork is not None:
            self._grant_to_service_agent(deployment, network, network.subnetwork, number)
        self.register_outputs({"email": self.email})

    def _grant_on_project(self, deployment: Deployment, account: serviceaccount.Account, *, iam_login: bool) -> None:
        roles = {
            "logs": "roles/logging.logWriter",
            "metrics": "roles/monitoring.metricWriter",
            # Cloud SQL has no IAM on single instances.
            "database": "roles/cloudsql.client",
            **({"login": "roles/cloudsql.instanceUser"} if iam_login else {}),
        }
        for what, role in roles.items():
            projects.IAMMember(
                deployment.logical_name(f"server-{what}"),
                project=deployment.project,
                role=role,
                member=account.member,
                opts=self._child,
            )

    def _grant_on_resources(
        self,
        deployment: Deployment,
        account: serviceaccount.Account,
        artifacts: Artifacts,
        database: Database,
        image: Image,
    ) -> None:
        storage.BucketIAMMember(
            deployment.logical_name("server-artifacts"),
            bucket=artifacts.bucket,
            role="roles/storage.objectUser",
            member=account.member,
            opts=self._child,
        )
        if database.password_secret_id is not None:
            secretmanager.SecretIamMember(
                deployment.logical_name("server-password"),
                project=deployment.project,
                secret_id=database.password_secret_id,
                role="roles/secretmanager.secretAccessor",
                member=account.member,
                opts=self._child,
            )
        # To sign the URLs with which clients upload large files in parts; the account has no key.
        serviceaccount.IAMMember(
            deployment.logical_name("server"),
            service_account_id=account.name,
            role="roles/iam.serviceAccountTokenCreator",
            member=account.member,
            opts=self._child,
        )
        if image.source_repository is not None:
            artifactregistry.RepositoryIamMember(
                deployment.logical_name("server-image"),
                project=deployment.project,
                location=image.source_repository.location,
                repository=image.source_repository.repository,
                role="roles/artifactregistry.reader",
                member=account.member,
                opts=self._child,
            )

    def _create_database_user(
        self, deployment: Deployment, account: serviceaccount.Account, database: Database
    ) -> pulumi.Output[str]:
        """The user for IAM database authentication; its name is the account's, up to @ (at most 30 characters)."""
        user = sql.User(
            deployment.logical_name("server"),
            project=deployment.project,
            instance=database.instance.name,
            # For MySQL the e-mail address: the provider and Cloud SQL shorten it.
            # https://cloud.google.com/sql/docs/mysql/add-manage-iam-users
            name=account.email,
            type="CLOUD_IAM_SERVICE_ACCOUNT",
            # The role that a user with a password gets.
            database_roles=["cloudsqlsuperuser"],
            opts=pulumi.ResourceOptions(
                parent=self, protect=deployment.deletion_protection, deleted_with=database.instance
            ),
        )
        return user.name.apply(lambda name: name.partition("@")[0])

    def _grant_to_service_agent(
        self, deployment: Deployment, network: Network, subnetwork: pulumi.Output[str], number: pulumi.Input[str]
    ) -> None:
        compute.SubnetworkIAMMember(
            deployment.logical_name("app-engine-network"),
            project=network.project,
            region=network.region,
            subnetwork=subnetwork,
            role="roles/compute.networkUser",
            # https://cloud.google.com/appengine/docs/flexible/using-shared-vpc
            member=pulumi.Output.concat(
                "serviceAccount:service-", number, "@gae-api-prod.google.com.iam.gserviceaccount.com"
            ),
            opts=self._child,
        )
