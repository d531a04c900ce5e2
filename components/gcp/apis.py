"""Google Cloud's APIs that the deployment calls, switched on in its project.

They stay on when it is destroyed: others in the project may call them. Two have to be on before, since the program
itself begins with them: Service Usage and Cloud Resource Manager.
"""

import pulumi
from pulumi_gcp import projects

from .place import Place

_APIS = (
    "appengine",
    "appengineflex",
    "artifactregistry",
    # App Engine builds the placeholder with it.
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
# A private database's connection.
_PRIVATE = ("servicenetworking",)


class Apis(pulumi.ComponentResource):
    """Whoever calls an API depends on it."""

    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(self, place: Place, *, private: bool, opts: pulumi.ResourceOptions | None = None) -> None:
        """``private``: there is a database without a public address."""
        super().__init__("mlflow:gcp:Apis", place.named("apis"), {}, opts)
        for name in (*_APIS, *(_PRIVATE if private else ())):
            projects.Service(
                place.named(name),
                project=place.project,
                service=f"{name}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.kept = [f"the APIs of {place.project} stay switched on, since others there may call them"]
        self.register_outputs({})
