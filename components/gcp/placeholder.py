"""A page on the service `default` that scales to zero: App Engine wants something there before any other service, and
never lets go of it. MLflow on a service of its own can be destroyed.

App Engine builds it from one file, in the name of an account that may do nothing else.
"""

import asyncio
import hashlib
from pathlib import Path

import pulumi
from pulumi_gcp import appengine, projects, serviceaccount, storage

from .place import Place

_VERSION = "placeholder"
_FILE = "main.py"
_COMMAND = f"python3 {_FILE}"
_CODE = Path(__file__).parent / "placeholder_app" / _FILE
# What a build in the name of an account of one's own needs of the project: its log, and the repository gae-standard,
# which App Engine makes at the first build.
# https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts
_OF_PROJECT = {"log": "roles/logging.logWriter", "image": "roles/artifactregistry.createOnPushWriter"}
# New rights reach everything within two minutes, as a rule.
# https://cloud.google.com/iam/docs/access-change-propagation
_PAUSE = 30
_TRIES = 8


class Placeholder(pulumi.ComponentResource):
    """Another service depends on it."""

    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(
        self, place: Place, *, code_bucket: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``code_bucket`` is the application's, through which all code goes to its build."""
        super().__init__("mlflow:gcp:Placeholder", place.named("placeholder"), {}, opts)
        account = serviceaccount.Account(
            place.named("placeholder"),
            project=place.project,
            account_id=place.physical_name("placeholder", 30),
            display_name=f"The page on App Engine's default service, {place.stack}",
            opts=pulumi.ResourceOptions(parent=self),
        )
        bucket = self._bucket(place)
        rights = self._rights(place, account, {"code": code_bucket, "source": bucket.name})
        self._deployed(place, bucket, account, rights)
        self.kept = [
            f"the service default of {place.project} with a page that scales to zero, and the page's image in "
            "the repository gae-standard: App Engine has no way to delete that service"
        ]
        self.register_outputs({})

    def _bucket(self, place: Place) -> storage.Bucket:
        return storage.Bucket(
            place.named("placeholder"),
            project=place.project,
            location=place.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # The code is in the repository, too.
            force_destroy=True,
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
            labels=place.labels,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _rights(
        self, place: Place, account: serviceaccount.Account, buckets: dict[str, pulumi.Input[str]]
    ) -> list[pulumi.Resource]:
        inside = pulumi.ResourceOptions(parent=self)
        of_project = [
            projects.IAMMember(
                place.named(f"placeholder-{what}"),
                project=place.project,
                role=role,
                member=account.member,
                opts=inside,
            )
            for what, role in _OF_PROJECT.items()
        ]
        of_buckets = [
            storage.BucketIAMMember(
                place.named(f"placeholder-{what}"),
                bucket=bucket,
                role="roles/storage.objectViewer",
                member=account.member,
                opts=inside,
            )
            for what, bucket in buckets.items()
        ]
        return [*of_project, *of_buckets]

    def _deployed(
        self, place: Place, bucket: storage.Bucket, account: serviceaccount.Account, rights: list[pulumi.Resource]
    ) -> None:
        code = _CODE.read_text(encoding="utf-8")
        made = storage.BucketObject(
            place.named("placeholder"),
            bucket=bucket.name,
            # App Engine does not notice that a file is another one.
            name=f"{hashlib.sha256(code.encode()).hexdigest()[:16]}/{_FILE}",
            # As `content` the provider would take it for a secret.
            source=pulumi.StringAsset(code),
            content_type="text/x-python",
            opts=pulumi.ResourceOptions(parent=self),
        )
        appengine.StandardAppVersion(
            place.named("placeholder"),
            project=place.project,
            service="default",
            version_id=_VERSION,
            runtime="python313",
            entrypoint=appengine.StandardAppVersionEntrypointArgs(shell=_COMMAND),
            deployment=appengine.StandardAppVersionDeploymentArgs(
                files=[
                    appengine.StandardAppVersionDeploymentFileArgs(
                        name=_FILE,
                        source_url=pulumi.Output.format(
                            "https://storage.googleapis.com/{0}/{1}", bucket.name, made.name
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
                depends_on=rights,
                hooks=pulumi.ResourceHookBinding(
                    on_error=[pulumi.ErrorHook(place.named("placeholder-rights"), _until_rights_arrive)]
                ),
            ),
        )


async def _until_rights_arrive(args: pulumi.ErrorHookArgs) -> bool:
    """Whether to try again, after a while."""
    refused = any(word in args.errors[0].lower() for word in ("permission", "does not have access", "error 403"))
    if not refused or len(args.errors) >= _TRIES:
        return False
    await asyncio.sleep(_PAUSE)
    return True
