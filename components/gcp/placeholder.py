"""A page that scales to zero on the service `default`.

App Engine requires the service `default` before any other service, and it can never be deleted; MLflow on a service of
its own can be. App Engine builds the page from one file with a dedicated service account.
"""

import asyncio
import hashlib
from pathlib import Path

import pulumi
from pulumi_gcp import appengine, projects, serviceaccount, storage

from .deployment import Deployment
from .encryption import bucket_encryption

_VERSION = "placeholder"
_FILE = "main.py"
_COMMAND = f"python3 {_FILE}"
_CODE = Path(__file__).parent / "placeholder_app" / _FILE
# Project roles that a build with a user-specified service account needs: for its log, and for the repository
# gae-standard, which App Engine creates with the first build.
# https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts
_PROJECT_ROLES = {"log": "roles/logging.logWriter", "image": "roles/artifactregistry.createOnPushWriter"}
# New IAM roles usually take effect within two minutes.
# https://cloud.google.com/iam/docs/access-change-propagation
_RETRY_SECONDS = 30
_ATTEMPTS = 8


class Placeholder(pulumi.ComponentResource):
    """The page on the service `default`; other services depend on it."""

    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self, deployment: Deployment, *, code_bucket: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``code_bucket`` is the application's staging bucket, from which builds read the code."""
        super().__init__("mlflow:gcp:Placeholder", deployment.component, {}, opts)
        account = serviceaccount.Account(
            deployment.logical_name("placeholder"),
            project=deployment.project,
            account_id=deployment.physical_name("placeholder", 30),
            display_name=pulumi.Output.concat("Placeholder page of App Engine, ", deployment.stack),
            opts=pulumi.ResourceOptions(parent=self),
        )
        bucket = self._bucket(deployment)
        grants = self._grant_roles(deployment, account, {"code": code_bucket, "source": bucket.name})
        self._deploy(deployment, bucket, account, grants)
        self.retained_on_destroy = [
            f"the service default of {deployment.project} with a page that scales to zero, and the page's image in "
            "the repository gae-standard: App Engine cannot delete that service"
        ]
        self.register_outputs({})

    def _bucket(self, deployment: Deployment) -> storage.Bucket:
        return storage.Bucket(
            deployment.logical_name("placeholder"),
            project=deployment.project,
            location=deployment.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            encryption=bucket_encryption(deployment),
            # It holds a copy of the code only.
            force_destroy=True,
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
            labels=deployment.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _grant_roles(
        self, deployment: Deployment, account: serviceaccount.Account, buckets: dict[str, pulumi.Input[str]]
    ) -> list[pulumi.Resource]:
        inside = pulumi.ResourceOptions(parent=self)
        on_project = [
            projects.IAMMember(
                deployment.logical_name(f"placeholder-{what}"),
                project=deployment.project,
                role=role,
                member=account.member,
                opts=inside,
            )
            for what, role in _PROJECT_ROLES.items()
        ]
        on_buckets = [
            storage.BucketIAMMember(
                deployment.logical_name(f"placeholder-{what}"),
                bucket=bucket,
                role="roles/storage.objectViewer",
                member=account.member,
                opts=inside,
            )
            for what, bucket in buckets.items()
        ]
        return [*on_project, *on_buckets]

    def _deploy(
        self,
        deployment: Deployment,
        bucket: storage.Bucket,
        account: serviceaccount.Account,
        grants: list[pulumi.Resource],
    ) -> None:
        code = _CODE.read_text(encoding="utf-8")
        source = storage.BucketObject(
            deployment.logical_name("placeholder"),
            bucket=bucket.name,
            # The hash in the name makes App Engine deploy changed code.
            name=f"{hashlib.sha256(code.encode()).hexdigest()[:16]}/{_FILE}",
            # The provider treats `content` as a secret.
            source=pulumi.StringAsset(code),
            content_type="text/x-python",
            opts=pulumi.ResourceOptions(parent=self),
        )
        appengine.StandardAppVersion(
            deployment.logical_name("placeholder"),
            project=deployment.project,
            service="default",
            version_id=_VERSION,
            runtime="python313",
            entrypoint=appengine.StandardAppVersionEntrypointArgs(shell=_COMMAND),
            deployment=appengine.StandardAppVersionDeploymentArgs(
                files=[
                    appengine.StandardAppVersionDeploymentFileArgs(
                        name=_FILE,
                        source_url=pulumi.Output.format(
                            "https://storage.googleapis.com/{0}/{1}", bucket.name, source.name
                        ),
                    )
                ]
            ),
            service_account=account.email,
            instance_class="F1",
            automatic_scaling=appengine.StandardAppVersionAutomaticScalingArgs(
                standard_scheduler_settings=appengine.StandardAppVersionAutomaticScalingStandardSchedulerSettingsArgs(
                    max_instances=1
                )
            ),
            noop_on_destroy=True,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=grants,
                hooks=pulumi.ResourceHookBinding(
                    on_error=[pulumi.ErrorHook(deployment.logical_name("placeholder-retry"), _retry_until_roles_apply)]
                ),
            ),
        )


async def _retry_until_roles_apply(args: pulumi.ErrorHookArgs) -> bool:
    """Wait, and return whether to retry: after permission errors, up to _ATTEMPTS times."""
    denied = any(word in args.errors[0].lower() for word in ("permission", "does not have access", "error 403"))
    if not denied or len(args.errors) >= _ATTEMPTS:
        return False
    await asyncio.sleep(_RETRY_SECONDS)
    return True
