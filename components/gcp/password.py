"""The password of MLflow's database user: generated, stored in Secret Manager and, encrypted, in the stack's state.

To rotate it: `pulumi up --replace '**RandomPassword::NAME-database-password'`, with the component's NAME. The secret is
updated before the database, and MLflow reads the secret again when the database rejects the password: no deployment and
no restart is needed.
"""

import pulumi
import pulumi_random as random
from pulumi_gcp import secretmanager

from .deployment import Deployment
from .encryption import secret_replication

_ROLE = "database-password"


class Password(pulumi.ComponentResource):
    """The password and its secret.

    The database user depends on this component, so that a rotation updates the secret first.
    """

    value: pulumi.Output[str]
    """The password itself, a secret Output."""
    secret: pulumi.Output[str]
    """Secret Manager resource name, projects/PROJECT/secrets/NAME; resolves after the first version exists."""
    secret_id: pulumi.Output[str]
    """Secret Manager secret ID, the NAME above."""

    def __init__(self, deployment: Deployment, *, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:gcp:Password", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        # 190 bits; letters and digits need no escaping.
        password = random.RandomPassword(deployment.logical_name(_ROLE), length=32, special=False, opts=inside)
        secret = secretmanager.Secret(
            deployment.logical_name(_ROLE),
            project=deployment.project,
            secret_id=deployment.physical_name(_ROLE, 255),
            replication=secret_replication(deployment),
            deletion_protection=deployment.deletion_protection,
            labels=deployment.labels,
            # Password and version are unprotected: the engine does not replace protected resources.
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        version = secretmanager.SecretVersion(
            deployment.logical_name(_ROLE),
            secret=secret.id,
            secret_data=password.result,
            opts=inside,
        )
        self.value = pulumi.Output.secret(password.result)
        self.secret = version.secret
        self.secret_id = secret.secret_id
        self.register_outputs({"secret": self.secret, "secret_id": self.secret_id})
