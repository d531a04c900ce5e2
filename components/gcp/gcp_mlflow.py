"""MLflow on App Engine's flexible environment behind Identity-Aware Proxy, with Cloud SQL and Cloud Storage.

Creates all resources in one project, from the APIs to the alerts. Out of scope: the project and its billing, the OAuth
client (its API has been shut down), users' accounts, and the DNS records of a domain.
"""

import re

import pulumi
from pulumi_gcp import organizations

from ..deletion_protection import DeletionProtection
from ..names import original_names
from .apis import Apis, retry_new_apis
from .app_engine import AppEngine
from .args import GcpMlflowArgs
from .artifacts import Artifacts
from .canary import Canary
from .client_setup import client_setup, token_audience
from .database import Database
from .deployment import Deployment, label_value
from .domain import Domain
from .encryption import Encryption
from .iap_access import IapAccess, all_role_rules
from .identity import Identity
from .image import Image
from .monitoring import Monitoring
from .network import Network
from .service import Service
from .settings import GcpMlflowSettings

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


class GcpMlflow(pulumi.ComponentResource):
    """MLflow on App Engine behind Identity-Aware Proxy."""

    url: pulumi.Output[str]
    """URL of MLflow."""
    tracking_uri: pulumi.Output[str]
    """Value of MLFLOW_TRACKING_URI."""
    dns_records: pulumi.Output[list[str]]
    """DNS records to create for app.domain, each NAME TYPE DATA; empty without it."""
    iap_audience: pulumi.Output[str]
    """Audience of Identity-Aware Proxy's assertions, which the proxy verifies: /projects/NUMBER/apps/ID."""
    token_audience: pulumi.Output[str]
    """Audience of clients' tokens: the OAuth client ID or, where that is unknown, https://HOST/* for self-signed JWTs
    of service accounts."""
    service_account: pulumi.Output[str]
    """E-mail address of MLflow's service account."""
    client_service_account: pulumi.Output[str | None]
    """E-mail address of the client service account; None without access.clientServiceAccount."""
    bucket: pulumi.Output[str]
    """Name of the artifact bucket."""
    connection_name: pulumi.Output[str]
    """Connection name of the Cloud SQL instance, PROJECT:REGION:NAME."""
    password_secret: pulumi.Output[str | None]
    """Secret Manager secret with the database password, projects/PROJECT/secrets/NAME; None with
    database.iamAuthentication."""
    oauth_client_secret: pulumi.Output[str | None]
    """Secret Manager secret with the OAuth client secret; None with app.mode existing."""
    dashboard_url: pulumi.Output[str | None]
    """URL of the Cloud Monitoring dashboard; None without monitoring.dashboard."""
    client_setup: pulumi.Output[str]
    """Shell commands that set up a client."""
    retained_on_destroy: pulumi.Output[list[str]]
    """Resources that `pulumi destroy` cannot delete or leaves on purpose, with the reason."""

    def __init__(
        self,
        name: str,
        args: GcpMlflowArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Names of arguments may be in snake case or camel case.

        Raises SettingsError with all problems in ``args``, and ValueError for an invalid ``name``.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"GcpMlflow: got the name {name!r}, expected 1 to 16 lowercase letters, digits and hyphens, starting "
                "with a letter."
            )
        settings = GcpMlflowSettings.read(args, name)
        own = pulumi.ResourceOptions(transforms=[retry_new_apis(f"{name}-new-apis")])
        super().__init__("mlflow:index:GcpMlflow", name, {}, pulumi.ResourceOptions.merge(opts, own))
        for member in settings.access.members_without_role():
            pulumi.log.warn(f"{member} has access, but no role in access.roles: requests get 403.", self)
        inside = pulumi.ResourceOptions(parent=self)
        original_name, original_stack = original_names(name, protect=settings.deletion_protection, opts=inside)
        deployment = Deployment(
            component=name,
            name=original_name,
            stack=original_stack,
            project=settings.project,
            region=settings.region,
            labels={
                "project": label_value(pulumi.get_project()),
                "stack": original_stack.apply(label_value),
                "component": original_name.apply(label_value),
                **settings.labels,
            },
            deletion_protection=settings.deletion_protection,
            kms_key=settings.kms_key,
        )
        project = organizations.get_project_output(project_id=settings.project, opts=pulumi.InvokeOptions(parent=self))
        apis = Apis(deployment, private_ip=settings.database.private_ip, canary=settings.monitoring.canary, opts=inside)
        # Resources can be neither created nor deleted while their API is disabled.
        after_apis = pulumi.ResourceOptions(parent=self, depends_on=[apis])
        encryption = Encryption(deployment, settings.kms_key, apis=apis, opts=after_apis) if settings.kms_key else None
        encrypted = pulumi.ResourceOptions(parent=self, depends_on=[apis, *([encryption] if encryption else [])])
        app = AppEngine(
            deployment,
            settings.app,
            location=settings.app_location,
            oauth_client=settings.oauth_client,
            oauth_client_secret=settings.oauth_client_secret,
            number=project.number,
            opts=encrypted,
        )
        network = Network(
            deployment,
            settings.network,
            private_ip=settings.database.private_ip,
            location=settings.app_location,
            opts=after_apis,
        )
        database = Database(deployment, settings.database, network=network, opts=encrypted)
        artifacts = Artifacts(deployment, settings.artifacts, opts=encrypted)
        image = Image(deployment, settings.image, opts=encrypted)
        identity = Identity(
            deployment,
            artifacts=artifacts,
            database=database,
            image=image,
            network=network,
            number=project.number,
            opts=after_apis,
        )
        service = Service(
            deployment,
            settings.app,
            access=settings.artifacts.access,
            limits=settings.limits,
            roles=all_role_rules(deployment, settings.access, canary=settings.monitoring.canary),
            app=app,
            network=network,
            database=database,
            artifacts=artifacts,
            image=image,
            identity=identity,
            # Instances need the IAM roles, the database and its user to start.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[apis, app, network, database, identity]),
        )
        domain = (
            Domain(deployment, domain=settings.app.domain, service=service, opts=after_apis)
            if settings.app.domain
            else None
        )
        iap_access = IapAccess(
            deployment,
            settings.access,
            desktop_client_ids=settings.oauth_client.desktop_client_ids,
            app=app,
            service=service,
            number=project.number,
            opts=after_apis,
        )
        canary = Canary(deployment, app=app, service=service, opts=after_apis) if settings.monitoring.canary else None
        monitoring = Monitoring(
            deployment,
            settings.monitoring,
            app=settings.app,
            tier=settings.database.tier,
            database=database,
            service=service,
            opts=encrypted,
        )
        DeletionProtection(
            name,
            enabled=settings.deletion_protection,
            parent=self,
            protected=[
                apis,
                *([encryption] if encryption else []),
                app,
                network,
                database,
                artifacts,
                image,
                identity,
                service,
                *([domain] if domain else []),
                iap_access,
                *([canary] if canary else []),
                monitoring,
            ],
        )

        self.url = service.url
        self.tracking_uri = service.url
        self.dns_records = pulumi.Output.from_input([]) if domain is None else domain.dns_records
        self.iap_audience = app.iap_audience
        self.token_audience = token_audience(app, service)
        self.client_setup = client_setup(service, self.token_audience, iap_access)
        self.service_account = identity.email
        self.client_service_account = iap_access.client_service_account
        self.bucket = artifacts.bucket
        self.connection_name = database.connection_name
        self.password_secret = pulumi.Output.from_input(database.password_secret)
        self.oauth_client_secret = app.oauth_client_secret
        self.dashboard_url = monitoring.dashboard_url
        self.retained_on_destroy = pulumi.Output.from_input(
            [
                resource
                for part in (app, service, network, database, artifacts, monitoring, encryption, apis)
                if part is not None
                for resource in part.retained_on_destroy
            ]
        )
        self.register_outputs({output: getattr(self, output) for output in self.__class__.__annotations__})
