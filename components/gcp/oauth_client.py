"""The OAuth client with which Identity-Aware Proxy signs people in: its id, and its secret in Secret Manager.

Making it is left to people in Google's console: the API that made such clients is closed
(https://cloud.google.com/iap/docs/deprecations/migrate-oauth-client).
"""

import re

import pulumi
from pulumi_gcp import secretmanager

from .args import SignInArgs
from .place import Place

_ROLE = "oauth-client-secret"
_SECRET = re.compile(r"(projects/([^/]+)/secrets/([^/]+))(?:/versions/([^/]+))?")


class OAuthClient(pulumi.ComponentResource):
    """From the config, then the program keeps the secret; or from secrets that others keep."""

    client_id: pulumi.Output[str]
    """Callers' tokens are for it: it is not secret, wherever it comes from."""
    secret: pulumi.Output[str]
    """Where its secret is: projects/PROJECT/secrets/NAME."""

    def __init__(
        self,
        place: Place,
        sign_in: SignInArgs,
        *,
        client_secret: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``client_secret`` belongs to ``sign_in.client_id``. Raises ValueError without a whole client."""
        super().__init__("mlflow:gcp:OAuthClient", place.named("oauth-client"), {}, opts)
        if sign_in.client_id is not None and client_secret is not None:
            self.client_id = pulumi.Output.from_input(sign_in.client_id)
            self.client_secret = pulumi.Output.secret(client_secret)
            self.secret = self._kept(place)
        elif sign_in.client_id_from is not None and sign_in.client_secret_from is not None:
            self.client_id = pulumi.Output.unsecret(self._read(sign_in.client_id_from))
            self.client_secret = self._read(sign_in.client_secret_from)
            self.secret = pulumi.Output.from_input(_parts(sign_in.client_secret_from)[0])
        else:
            raise ValueError("an OAuth client has an id and a secret, both from one place")
        self.register_outputs({"client_id": self.client_id, "secret": self.secret})

    def _kept(self, place: Place) -> pulumi.Output[str]:
        secret = secretmanager.Secret(
            place.named(_ROLE),
            project=place.project,
            secret_id=place.physical_name(_ROLE, 255),
            replication=secretmanager.SecretReplicationArgs(
                user_managed=secretmanager.SecretReplicationUserManagedArgs(
                    replicas=[secretmanager.SecretReplicationUserManagedReplicaArgs(location=place.region)]
                )
            ),
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        version = secretmanager.SecretVersion(
            place.named(_ROLE),
            project=place.project,
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
            # The provider takes no version for the latest one.
            version=None if version == "latest" else version,
            opts=pulumi.InvokeOutputOptions(parent=self),
        )
        # People write secrets with `echo`, which ends a line.
        return pulumi.Output.secret(found.secret_data.apply(str.strip))


def _parts(name: str) -> tuple[str, str, str, str | None]:
    """(without its version, project, name, version)"""
    found = _SECRET.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no secret of Secret Manager's")
    return found[1], found[2], found[3], found[4]
