"""The Google Cloud APIs that the deployment uses, enabled in its project.

They stay enabled after a destroy, since other deployments in the project may use them. Service Usage and Cloud Resource
Manager must be enabled beforehand: the program itself needs them.
"""

import asyncio

import pulumi
from pulumi_gcp import projects

from .deployment import Deployment

# After an API has been enabled, Google refuses its requests for some minutes with SERVICE_DISABLED.
# https://cloud.google.com/service-usage/docs/enable-disable
NOT_IN_EFFECT = "SERVICE_DISABLED"
_RETRY_SECONDS = 30.0
_ATTEMPTS = 12

_APIS = (
    "appengine",
    "appengineflex",
    "artifactregistry",
    # App Engine builds the placeholder page with it.
    "cloudbuild",
    "cloudresourcemanager",
    "compute",
    "iam",
    "iamcredentials",
    "iap",
    "logging",
    "monitoring",
    "secretmanager",
    "sqladmin",
    "storage",
)
# For private services access to the database, for the canary, and for the encryption key's IAM policy.
_PRIVATE_IP = ("servicenetworking",)
_CANARY = ("cloudscheduler",)
_KMS = ("cloudkms",)


class Apis(pulumi.ComponentResource):
    """The enabled APIs; all components that create resources depend on this one."""

    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self, deployment: Deployment, *, private_ip: bool, canary: bool, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``private_ip``: the database has a private IP address. ``canary``: there is a Canary."""
        super().__init__("mlflow:gcp:Apis", deployment.component, {}, opts)
        optional = ((_PRIVATE_IP, private_ip), (_CANARY, canary), (_KMS, deployment.kms_key is not None))
        for name in (*_APIS, *(api for apis, needed in optional if needed for api in apis)):
            projects.Service(
                deployment.logical_name(name),
                project=deployment.project,
                service=f"{name}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.retained_on_destroy = [
            f"the APIs of {deployment.project} stay enabled, since other deployments may use them"
        ]
        self.register_outputs({})


def retry_new_apis(name: str) -> pulumi.ResourceTransform:
    """A transform that repeats operations on resources while their API is not in effect yet. ``name`` is unique."""
    hook = pulumi.ErrorHook(name, retry_until_in_effect)

    def add_hook(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if not args.custom:
            return None
        hooks = pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(on_error=[hook]))
        return pulumi.ResourceTransformResult(args.props, pulumi.ResourceOptions.merge(args.opts, hooks))

    return add_hook


async def retry_until_in_effect(args: pulumi.ErrorHookArgs) -> bool:
    """Wait, and return whether to retry: after SERVICE_DISABLED, for some minutes."""
    if NOT_IN_EFFECT not in args.errors[0] or len(args.errors) >= _ATTEMPTS:
        return False
    await asyncio.sleep(_RETRY_SECONDS)
    return True
