"""The OAuth client with which Identity-Aware Proxy signs users in: its client ID, and its secret in Secret Manager.

The client itself is created manually in the Google Cloud console: the API for it has been shut down
(https://cloud.google.com/iap/docs/deprecations/migrate-oauth-client).
"""

import re

import pulumi
from pulumi_gcp import secretmanager

from .app_settings import OAuthClientSettings
from .deployment import Deployment
from .encryption import secret_replication

_ROLE = "oauth-client-secret"
_SECRET = re.compile(r"(projects/([^/]+)/secrets/([^/]+))(?:/versions/([^/]+))?")


class OAuthClient(pulumi.ComponentResource):
    """The client from the stack's config, whose secret is stored here, or from existing Secret Manager secrets."""

    client_id: pulumi.Output[str]
    """The client ID, the audience of clients' tokens; never a secret Output."""
    client_secret: pulumi.Output[str]
    """The client secret, a secret Output."""
    secret: pulumi.Output[str]
    """Secret Manager secret that holds the client secret: projects/PROJECT/secrets/NAME."""

    def __init__(
        self,
        deployment: Deployment,
        args: OAuthClientSettings,
        *,
        client_secret: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``client_secret`` is the secret of ``args.client_id``. Raises ValueError if ID or secret is missing."""
        super().__init__("mlflow:gcp:OAuthClient", deployment.component, {}, opts)
        if args.client_id is not None and client_secret is not None:
            self.client_id = pulumi.Output.from_input(args.client_id)
            self.client_secret = pulumi.Output.secret(client_secret)
            self.secret = self._stored(deployment)
        elif args.client_id_secret is not None and args.client_secret_secret is not None:
            self.client_id = pulumi.Output.unsecret(self._read(args.client_id_secret))
            self.client_secret = self._read(args.client_secret_secret)
            self.secret = pulumi.Output.from_input(_parts(args.client_secret_secret)[0])
        else:
            raise ValueError("an OAuth client needs both its ID and its secret, or the names of two secrets")
        self.register_outputs({"client_id": self.client_id, "secret": self.secret})

    def _stored(self, deployment: Deployment) -> pulumi.Output[str]:
        secret = secretmanager.Secret(
            deployment.logical_name(_ROLE),
            project=deployment.project,
            secret_id=deployment.physical_name(_ROLE, 255),
            replication=secret_replication(deployment),
            labels=deployment.labels,
            # The version is unprotected: another client secret replaces it.
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        version = secretmanager.SecretVersion(
            deployment.logical_name(_ROLE),
            project=deployment.project,
            secret=secret.id,
            secret_data=self.client_secret,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return version.secret

    def _read(self, name: str) -> pulumi.Output[str]:
        _, project, secret, version = _parts(name)
        found = secretmanager.get_secret_version_output(
            project=project,
            secret=secret,
            # The provider reads the latest version if none is set.
            version=None if version == "latest" else version,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        # `echo` adds a trailing newline to secrets.
        return pulumi.Output.secret(found.secret_data.apply(str.strip))


def _parts(name: str) -> tuple[str, str, str, str | None]:
    """(name without version, project, secret ID, version) of a secret's resource name."""
    match = _SECRET.fullmatch(name)
    if match is None:
        raise ValueError(f"got {name!r}, expected projects/PROJECT/secrets/NAME (/versions/VERSION)")
    return match[1], match[2], match[3], match[4]
