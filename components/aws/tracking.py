"""A SageMaker MLflow app or tracking server with its artifact bucket and role, or an existing one.

Runs are stored in SageMaker itself: a replacement starts empty.
"""

import hashlib
from typing import cast

import pulumi
from pulumi_aws import iam, sagemaker

from .bucket import PrivateBucket, private_bucket
from .deployment import Deployment
from .identity import role_policy, service_role, tracking_statements
from .settings import TrackingSettings
from .types import check_partition, is_mlflow_app


class Tracking(pulumi.ComponentResource):
    """The upstream of the proxy."""

    target_arn: pulumi.Output[str]
    policy_arn: pulumi.Output[str]
    """``target_arn`` for endpoint policies. That of a new tracking server follows from its name, so that endpoints do
    not wait the 25 minutes of its creation. SageMaker chooses that of an app."""
    assume_role_arn: pulumi.Input[str] | None
    """Role that the proxy assumes for its requests; None for its own."""
    serverless: bool
    """True for an app, False for a tracking server."""
    bucket: pulumi.Output[str | None]
    bucket_arn: pulumi.Output[str] | None
    artifact_prefix: str

    def __init__(
        self, deployment: Deployment, args: TrackingSettings, *, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("mlflow:aws:Tracking", deployment.component, {}, opts)
        self.artifact_prefix = args.artifact_prefix
        self.assume_role_arn = args.assume_role_arn
        self.serverless = is_mlflow_app(args.target_arn) if isinstance(args.target_arn, str) else args.kind == "app"
        if args.target_arn is not None:
            self.target_arn = pulumi.Output.from_input(args.target_arn).apply(self._checked)
            self.policy_arn = self.target_arn
            self.bucket, self.bucket_arn = pulumi.Output.from_input(None), None
        else:
            bucket = private_bucket(
                deployment,
                "artifacts",
                parent=self,
                noncurrent_days=args.noncurrent_version_days,
                expire_days=None,
                protect=deployment.deletion_protection,
            )
            self.target_arn, self.policy_arn = self._new(deployment, args, bucket)
            self.bucket, self.bucket_arn = cast("pulumi.Output[str | None]", bucket.bucket), bucket.arn
        self.register_outputs({"target_arn": self.target_arn, "bucket": self.bucket})

    def _checked(self, target_arn: str) -> str:
        """Check a target ARN from an Output. Raises RunError if it does not match ``kind``, which sets permissions."""
        if is_mlflow_app(target_arn) != self.serverless:
            kind = "server" if self.serverless else "app"
            raise pulumi.RunError(f"tracking.targetArn is {target_arn}: set tracking.kind to {kind}.")
        return target_arn

    def _new(
        self, deployment: Deployment, args: TrackingSettings, bucket: PrivateBucket
    ) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """(ARN, ARN for policies) of a new app or tracking server."""
        role = service_role(deployment, "tracking", "sagemaker.amazonaws.com", [], parent=self)
        statements = tracking_statements(
            deployment,
            bucket_arn=bucket.arn,
            prefix=args.artifact_prefix,
            registers_models=args.automatic_model_registration,
        )
        policy = role_policy(deployment, "tracking", role, statements, parent=self)
        here = deployment.partition.apply(self._served)
        artifacts = pulumi.Output.all(bucket.bucket, here).apply(
            lambda known: f"s3://{known[0]}/{args.artifact_prefix}"
        )
        opts = pulumi.ResourceOptions(
            parent=self,
            # SageMaker uses the role and the bucket when it starts, and the provider does not retry.
            depends_on=[policy, bucket],
            # An update in place has left servers stuck, and existing runs would point to the old location.
            replace_on_changes=["artifact_store_uri"],
            protect=deployment.deletion_protection,
            hooks=_refusals(deployment, app=self.serverless),
        )
        if self.serverless:
            app = self._app(deployment, args, role, artifacts, opts)
            return app, app
        return self._server(deployment, args, role, artifacts, opts)

    def _served(self, partition: str) -> str:
        try:
            check_partition(partition, app=self.serverless)
        except ValueError as error:
            raise pulumi.RunError(f"tracking.kind: {error}") from None
        return partition

    def _app(
        self,
        deployment: Deployment,
        args: TrackingSettings,
        role: iam.Role,
        artifacts: pulumi.Output[str],
        opts: pulumi.ResourceOptions,
    ) -> pulumi.Output[str]:
        registers = "Enabled" if args.automatic_model_registration else "Disabled"
        app = sagemaker.MlflowApp(
            deployment.logical_name("tracking"),
            artifact_store_uri=artifacts,
            role_arn=role.arn,
            model_registration_mode=f"AutoModelRegistration{registers}",
            weekly_maintenance_window_start=args.maintenance_window,
            # AWS takes 2 to 3 minutes, and the provider's default is 10.
            timeouts=sagemaker.MlflowAppTimeoutsArgs(create="30m", update="30m", delete="30m"),
            tags=deployment.tags_for("tracking"),
            opts=opts,
        )
        return app.arn

    def _server(
        self,
        deployment: Deployment,
        args: TrackingSettings,
        role: iam.Role,
        artifacts: pulumi.Output[str],
        opts: pulumi.ResourceOptions,
    ) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        # A replacement is created before the old server is deleted, and needs another name: the suffix depends on the
        # properties that replace the server.
        version = args.mlflow_version or ""
        suffix = pulumi.Output.concat(artifacts, " ", role.arn, " ", version).apply(
            lambda replacing: hashlib.sha256(replacing.encode()).hexdigest()[:8]
        )
        name = pulumi.Output.concat(deployment.physical_name("tracking", 54), "-", suffix)
        server = sagemaker.MlflowTrackingServer(
            deployment.logical_name("tracking"),
            tracking_server_name=name,
            artifact_store_uri=artifacts,
            role_arn=role.arn,
            tracking_server_size=args.server_size,
            mlflow_version=args.mlflow_version,
            automatic_model_registration=args.automatic_model_registration,
            weekly_maintenance_window_start=args.maintenance_window,
            tags=deployment.tags_for("tracking"),
            opts=opts,
        )
        return server.arn, deployment.arn("sagemaker", pulumi.Output.concat("mlflow-tracking-server/", name))


def _refusals(deployment: Deployment, *, app: bool) -> pulumi.ResourceHookBinding:
    """A hook that refuses updates that the provider would report as done, although SageMaker did not do them."""

    def refuse(args: pulumi.ResourceHookArgs) -> None:
        old, new = dict(args.old_inputs or {}), dict(args.new_inputs or {})
        if old == new:
            raise pulumi.RunError(_failed_before(args.urn, args.id, app=app))
        # The provider leaves `false` out of its request (hashicorp/terraform-provider-aws,
        # internal/service/sagemaker/mlflow_tracking_server.go, GetOk).
        if old.get("automaticModelRegistration") is True and new.get("automaticModelRegistration") is False:
            raise pulumi.RunError(
                "tracking.automaticModelRegistration: Pulumi's AWS provider cannot switch it off. Switch it off with "
                f"`aws sagemaker update-mlflow-tracking-server --tracking-server-name {args.id} "
                "--no-automatic-model-registration`, then run `pulumi refresh`, then `pulumi up`."
            )

    hook = pulumi.ResourceHook(
        deployment.logical_name("tracking-update"), refuse, pulumi.ResourceHookOptions(on_dry_run=True)
    )
    return pulumi.ResourceHookBinding(before_update=[hook])


def _failed_before(urn: str, resource_id: str, *, app: bool) -> str:
    """The error for an update without a change: the engine runs one if the last creation or update failed.

    The provider stores the resource before it waits for SageMaker, and reads no status afterwards: without this error,
    the next `pulumi up` would be successful (hashicorp/terraform-provider-aws, mlflow_tracking_server.go,
    mlflow_app.go).
    """
    if app:
        what, show = "MLflow app", f"aws sagemaker describe-mlflow-app --arn {resource_id} --query Status"
        again = f"`pulumi up --replace '{urn}'`"
    else:
        what = "tracking server"
        show = (
            f"aws sagemaker describe-mlflow-tracking-server --tracking-server-name {resource_id} "
            "--query TrackingServerStatus"
        )
        # A replacement would be created first, under the same name.
        again = f"`pulumi destroy --target '{urn}'`, then `pulumi up`"
    return (
        f"The last creation or update of the {what} failed. Look at its status: `{show}`. Created or Updated: run "
        f"`pulumi refresh`, then `pulumi up`. CreateFailed: it has no runs; create it again with {again}, with "
        f"deletionProtection after `pulumi state unprotect '{urn}'`. UpdateFailed: correct the cause, repeat the "
        "update in SageMaker's console, then run `pulumi refresh`."
    )
