"""The password of MLflow's database user: made here, kept in Secret Manager and, encrypted, in the stack's state.

Another one: `pulumi up --replace '**RandomPassword::NAME-database-password'`, with the component's NAME. The secret has
it before the database, and MLflow reads the secret again when the database refuses: nothing is deployed or started.
"""

import pulumi
import pulumi_random as random
from pulumi_gcp import secretmanager

from .place import Place

_ROLE = "database-password"


class Password(pulumi.ComponentResource):
    """Whoever uses it for good depends on it: then the secret has the new one first, and the old one goes last."""

    value: pulumi.Output[str]
    secret: pulumi.Output[str]
    """projects/PROJECT/secrets/NAME, once there is a password in it."""
    secret_id: pulumi.Output[str]
    """NAME."""

    def __init__(self, place: Place, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:gcp:Password", place.named(_ROLE), {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        # 190 bits in letters and digits, which need no escaping anywhere.
        made = random.RandomPassword(place.named(_ROLE), length=32, special=False, opts=inside)
        secret = secretmanager.Secret(
            place.named(_ROLE),
            project=place.project,
            secret_id=place.physical_name(_ROLE, 255),
            # In the region of the database, and not wherever Google likes.
            replication=secretmanager.SecretReplicationArgs(
                user_managed=secretmanager.SecretReplicationUserManagedArgs(
                    replicas=[secretmanager.SecretReplicationUserManagedReplicaArgs(location=place.region)]
                )
            ),
            deletion_protection=place.deletion_protection,
            labels=place.labels,
            # Not the password and the version: what is protected cannot be replaced by a new one either.
            opts=pulumi.ResourceOptions(parent=self, protect=place.deletion_protection),
        )
        version = secretmanager.SecretVersion(
            place.named(_ROLE),
            secret=secret.id,
            secret_data=made.result,
            opts=inside,
        )
        self.value = pulumi.Output.secret(made.result)
        self.secret = version.secret
        self.secret_id = secret.secret_id
        self.register_outputs({"secret": self.secret, "secret_id": self.secret_id})
