"""The customer-managed encryption key: which of Google's service agents may use it, and how resources name it.

Out of scope: the key itself and its rotation. App Engine has no such keys for its instances and its staging bucket, and
Cloud Monitoring none for metrics.
"""

import pulumi
from pulumi_gcp import kms, logging, projects, secretmanager, storage

from .deployment import Deployment

_ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
# Services whose agent must be created before it can get a role. https://cloud.google.com/iam/docs/create-service-agents
_SERVICES = {"database": "sqladmin", "images": "artifactregistry", "secrets": "secretmanager"}


class Encryption(pulumi.ComponentResource):
    """Grants the key to the service agents; resources that the key encrypts depend on this component."""

    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self, deployment: Deployment, key: str, *, apis: pulumi.Resource, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``key`` is projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY. ``apis`` are the enabled APIs."""
        super().__init__("mlflow:gcp:Encryption", deployment.component, {}, opts)
        for what, service in _SERVICES.items():
            identity = projects.ServiceIdentity(
                deployment.logical_name(what),
                project=deployment.project,
                service=f"{service}.googleapis.com",
                opts=pulumi.ResourceOptions(parent=self),
            )
            self._grant(deployment, key, what, identity.member)
        # These two functions also create the agents.
        after_apis = pulumi.InvokeOutputOptions(parent=self, depends_on=[apis])
        bucket_agent = storage.get_project_service_account_output(project=deployment.project, opts=after_apis)
        self._grant(deployment, key, "artifacts", bucket_agent.member)
        log_agent = logging.get_project_cmek_settings_output(project=deployment.project, opts=after_apis)
        log_member = pulumi.Output.concat("serviceAccount:", log_agent.service_account_id)
        self._grant(deployment, key, "log", log_member)
        self.retained_on_destroy = [
            f"the roles of Google's service agents on {key}: backups, soft-deleted objects and other stacks need them"
        ]
        self.register_outputs({})

    def _grant(self, deployment: Deployment, key: str, what: str, member: pulumi.Input[str]) -> None:
        kms.CryptoKeyIAMMember(
            deployment.logical_name(f"key-{what}"),
            crypto_key_id=key,
            role=_ROLE,
            member=member,
            # Also when the key changes: what the previous key encrypted stays readable.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )


def bucket_encryption(deployment: Deployment) -> storage.BucketEncryptionArgs | None:
    """The encryption of a Cloud Storage bucket."""
    key = deployment.kms_key
    return None if key is None else storage.BucketEncryptionArgs(default_kms_key_name=key)


def secret_replication(deployment: Deployment) -> secretmanager.SecretReplicationArgs:
    """The replication of a secret: in the deployment's region only, since a key is in the location of its replica."""
    key = deployment.kms_key
    replica = secretmanager.SecretReplicationUserManagedReplicaArgs(
        location=deployment.region,
        customer_managed_encryption=(
            None
            if key is None
            else secretmanager.SecretReplicationUserManagedReplicaCustomerManagedEncryptionArgs(kms_key_name=key)
        ),
    )
    return secretmanager.SecretReplicationArgs(
        user_managed=secretmanager.SecretReplicationUserManagedArgs(replicas=[replica])
    )
