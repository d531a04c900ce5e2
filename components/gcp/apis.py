"""The Google Cloud APIs that the deployment uses, enabled in its project.

They stay enabled after a destroy, since other deployments in the project may use them. Service Usage and Cloud Resource
Manager must be enabled beforehand: the program itself needs them.
"""

import pulumi
from pulumi_gcp import projects

from .deployment import Deployment

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
# For private services access to the database.
_PRIVATE_IP = ("servicenetworking",)


class Apis(pulumi.ComponentResource):
    """The enabled APIs; all components that create resources depend on this one."""

    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(self, deployment: Deployment, *, private_ip: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        """``private_ip``: the database has a private IP address."""
        super().__init__("mlflow:gcp:Apis", deployment.logical_name("apis"), {}, opts)
        for name in (*_APIS, *(_PRIVATE_IP if private_ip else ())):
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
