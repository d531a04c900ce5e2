"""MLflow on App Engine's flexible environment behind Identity-Aware Proxy, with Cloud SQL and Cloud Storage behind it.

It builds everything in one project, from the APIs to the alerts. Left to the caller: the project with its billing, the
OAuth client (Google closed the API that made them), people's accounts, DNS for a name of one's own.
"""

import re
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_gcp import organizations

from .apis import Apis
from .app_engine import AppEngine
from .args import GcpMlflowArgs
from .artifacts import Artifacts
from .callers import Callers, roles_of_all
from .database import Database
from .identity import Identity
from .image import Image
from .network import Network
from .outputs import lines_for_clients
from .place import Place, as_label
from .service import Service
from .watching import Watching

_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


class GcpMlflow(pulumi.ComponentResource):
    """MLflow on App Engine behind Identity-Aware Proxy."""

    url: pulumi.Output[str]
    """Where people and programs find MLflow."""
    tracking_uri: pulumi.Output[str]
    """MLFLOW_TRACKING_URI."""
    iap_audience: pulumi.Output[str]
    """The audience of Identity-Aware Proxy's assertions, which MLflow's proxy asks for: /projects/NUMBER/apps/ID."""
    token_audience: pulumi.Output[str]
    """The audience of callers' tokens: the OAuth client's id, or where it is not known https://HOST/* for tokens that
    a service account signs."""
    service_account: pulumi.Output[str]
    """Who MLflow is in Google Cloud: an e-mail address."""
    client_account: pulumi.Output[str | None]
    """The service account for clients; None if it was not asked for."""
    bucket: pulumi.Output[str]
    """The artifacts' bucket."""
    connection_name: pulumi.Output[str]
    """Cloud SQL's instance, as project:region:name."""
    password_secret: pulumi.Output[str]
    """Where the database's password is: projects/PROJECT/secrets/NAME."""
    oauth_client_secret: pulumi.Output[str | None]
    """Where the OAuth client's secret is kept; None where others look after Identity-Aware Proxy."""
    dashboard_url: pulumi.Output[str | None]
    """Cloud Monitoring's page for this deployment."""
    notebook: pulumi.Output[str]
    """The lines to paste where MLflow's client runs."""
    kept: pulumi.Output[list[str]]
    """What `pulumi destroy` cannot delete, or leaves on purpose, and why."""

    def __init__(
        self,
        name: str,
        args: GcpMlflowArgs | Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Raises SettingsError with everything that is wrong in ``args``, ValueError for a ``name`` that is none."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"GcpMlflow {name!r}: a name has 1 to 16 letters of a-z, digits and -, a letter first.")
        settings = GcpMlflowArgs.read(args, name)
        super().__init__("mlflow:index:GcpMlflow", name, {}, opts)
        for member in settings.access.without_role():
            pulumi.log.warn(f"{member} is let in, and access.roles has no role for them: MLflow answers 403.", self)
        inside = pulumi.ResourceOptions(parent=self)
        place = Place(
            name=name,
            stack=pulumi.get_stack(),
            project=settings.project,
            region=settings.region,
            labels={
                "project": as_label(pulumi.get_project()),
                "stack": as_label(pulumi.get_stack()),
                "component": as_label(name),
                **settings.labels,
            },
            deletion_protection=settings.deletion_protection,
        )
        project = organizations.get_project_output(project_id=settings.project, opts=pulumi.InvokeOptions(parent=self))
        apis = Apis(place, private=settings.database.private, opts=inside)
        # What calls an API before it is on, or is to be destroyed by one that was switched off, fails.
        after_apis = pulumi.ResourceOptions(parent=self, depends_on=[apis])
        app = AppEngine(
            place,
            settings.app,
            location=settings.app_location,
            sign_in=settings.sign_in,
            oauth_client_secret=settings.oauth_client_secret,
            number=project.number,
            opts=after_apis,
        )
        network = Network(
            place,
            settings.network,
            private=settings.database.private,
            location=settings.app_location,
            opts=after_apis,
        )
        database = Database(place, settings.database, network=network, opts=after_apis)
        artifacts = Artifacts(place, settings.artifacts, opts=after_apis)
        image = Image(place, settings.image, opts=after_apis)
        identity = Identity(
            place,
            artifacts=artifacts,
            database=database,
            image=image,
            network=network,
            number=project.number,
            opts=after_apis,
        )
        service = Service(
            place,
            settings.app,
            access=settings.artifacts.access,
            roles=roles_of_all(place, settings.access),
            app=app,
            network=network,
            database=database,
            artifacts=artifacts,
            image=image,
            identity=identity,
            # Without its rights, or its database and user, an instance would not start.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[apis, app, network, database, identity]),
        )
        callers = Callers(
            place,
            settings.access,
            desktop_client_ids=settings.sign_in.desktop_client_ids,
            app=app,
            service=service,
            number=project.number,
            opts=after_apis,
        )
        watching = Watching(
            place,
            settings.watching,
            app=settings.app,
            tier=settings.database.tier,
            database=database,
            service=service,
            opts=after_apis,
        )

        self.url = service.url
        self.tracking_uri = service.url
        self.iap_audience = app.iap_audience
        self.token_audience, self.notebook = lines_for_clients(app=app, service=service, callers=callers)
        self.service_account = identity.email
        self.client_account = callers.client_account
        self.bucket = artifacts.bucket
        self.connection_name = database.connection_name
        self.password_secret = database.password_secret
        self.oauth_client_secret = app.oauth_client_secret
        self.dashboard_url = watching.dashboard_url
        self.kept = pulumi.Output.from_input(
            [*app.kept, *service.kept, *network.kept, *database.kept, *artifacts.kept, *watching.kept, *apis.kept]
        )
        self.register_outputs({output: getattr(self, output) for output in self.__class__.__annotations__})
