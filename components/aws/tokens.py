"""The first admin token, and the secret with the hashes of all tokens.

``python -m proxy_app token`` creates and revokes tokens by editing that secret.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from ..proxy_environment import TOKEN_PREFIX
from .deployment import Deployment

# Name of the token.
_HOLDER = "admin"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def first_document(token: str, days: int, now: datetime) -> str:
    """The list of tokens with one admin in it, as the proxy reads it (proxy_app/auth/tokens.py)."""
    entry = {
        "id": token.split("_")[1],
        "name": _HOLDER,
        "role": "admin",
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "created": now.strftime(_TIME),
        "expires": (now + timedelta(days=days)).strftime(_TIME),
    }
    return json.dumps({"tokens": [entry]}, indent=2) + "\n"


class Tokens(pulumi.ComponentResource):
    """Two secrets: the first token in plain text, which the proxy cannot read, and the hashes of all tokens."""

    admin_token: pulumi.Output[str]
    admin_token_secret_arn: pulumi.Output[str]
    hashes_secret_arn: pulumi.Output[str]
    hashes_ready: pulumi.Resource
    """The secret's first version; the proxy does not start without it."""

    def __init__(self, deployment: Deployment, *, days: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:aws:Tokens", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection)
        token_id = random.RandomString(
            deployment.logical_name("token-id"), length=8, special=False, upper=False, opts=inside
        )
        # The length of 32 bytes in URL-safe base64.
        part = random.RandomPassword(deployment.logical_name("token"), length=43, override_special="_-", opts=inside)
        token = pulumi.Output.concat(TOKEN_PREFIX, "_", token_id.result, "_", part.result)
        now = datetime.now(UTC)
        document = token.apply(lambda made: first_document(made, days, now))

        plain = self._secret(deployment, "admin-token", "The proxy's first admin token, in plain")
        self._first_value(deployment, "admin-token", plain, token)
        hashes = self._secret(
            deployment, "tokens", "Hashes of the proxy's tokens; edit with `python -m proxy_app token`"
        )
        self.hashes_ready = self._first_value(deployment, "tokens", hashes, document)

        self.admin_token = pulumi.Output.secret(token)
        self.admin_token_secret_arn = plain.arn
        self.hashes_secret_arn = hashes.arn
        self.register_outputs(
            {
                "admin_token": self.admin_token,
                "admin_token_secret_arn": self.admin_token_secret_arn,
                "hashes_secret_arn": self.hashes_secret_arn,
            }
        )

    def _secret(self, deployment: Deployment, role: str, description: str) -> aws.secretsmanager.Secret:
        return aws.secretsmanager.Secret(
            deployment.logical_name(role),
            description=description,
            kms_key_id=deployment.kms_key_arn,
            recovery_window_in_days=30 if deployment.deletion_protection else 0,
            tags=deployment.tags_for(role),
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )

    def _first_value(
        self, deployment: Deployment, role: str, secret: aws.secretsmanager.Secret, value: pulumi.Output[str]
    ) -> aws.secretsmanager.SecretVersion:
        """The first version of a secret. Later changes by users are kept, also after ``pulumi refresh``."""
        return aws.secretsmanager.SecretVersion(
            deployment.logical_name(role),
            secret_id=secret.id,
            secret_string=pulumi.Output.secret(value),
            # AWS deletes versions without a staging label. A refresh would then report this one as deleted, and
            # the next update would overwrite all tokens (terraform-aws-modules/terraform-aws-secrets-manager#24).
            version_stages=["AWSCURRENT", "first"],
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=deployment.deletion_protection,
                ignore_changes=["secret_string", "version_stages"],
                # Deleting the secret deletes its versions, without removing their labels first.
                deleted_with=secret,
            ),
        )
