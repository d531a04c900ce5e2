"""The log bucket for entries of MLflow, the proxy and App Engine's front end, with its sink.

The entries contain the names of users: an exclusion keeps them out of the `_Default` bucket, which everyone with access
to the project's logs can read for 30 days. It does not change other exclusions of the `_Default` sink.
https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.exclusions/create
"""

import pulumi
import pulumi_random as random
from pulumi_gcp import logging

from .deployment import Deployment


def service_log_filter(service: str) -> str:
    """The Cloud Logging filter for entries of an App Engine service, without the front end's health check entries."""
    return "\n".join(
        [
            'resource.type = "gae_app"',
            f'resource.labels.module_id = "{service}"',
            'NOT log_id("appengine.googleapis.com/nginx.health_check")',
        ]
    )


class LogBucket(pulumi.ComponentResource):
    """A log bucket in the deployment's region, and the sink that routes the service's entries to it."""

    bucket: pulumi.Output[str]
    """Resource name, projects/PROJECT/locations/REGION/buckets/NAME."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self, deployment: Deployment, *, service: str, retention_days: int, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """``service`` is the App Engine service whose entries are routed to the bucket."""
        super().__init__("mlflow:gcp:LogBucket", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        # A deleted bucket exists for seven more days, and the provider would adopt it if the name was the same.
        # https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.locations.buckets/delete
        # Neither can an existing bucket get another key, although the provider would update it.
        # https://cloud.google.com/logging/docs/routing/managed-encryption-storage
        key = deployment.kms_key
        keepers = None if key is None else {"kms_key": key}
        suffix = random.RandomId(deployment.logical_name("log"), byte_length=3, keepers=keepers, opts=inside)
        bucket = logging.ProjectBucketConfig(
            deployment.logical_name("log"),
            project=deployment.project,
            location=deployment.region,
            bucket_id=pulumi.Output.concat(deployment.physical_name("log", 80), "-", suffix.hex),
            description=pulumi.Output.concat("Log entries of ", deployment.title, f", service {service}"),
            retention_days=retention_days,
            cmek_settings=None if key is None else logging.ProjectBucketConfigCmekSettingsArgs(kms_key_name=key),
            opts=pulumi.ResourceOptions(parent=self, protect=deployment.deletion_protection),
        )
        entries = service_log_filter(service)
        # Within one project a sink has no writer identity and needs no permission.
        # https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks#LogSink
        sink = logging.ProjectSink(
            deployment.logical_name("log"),
            project=deployment.project,
            name=deployment.physical_name("log", 100),
            destination=pulumi.Output.concat("logging.googleapis.com/", bucket.id),
            filter=entries,
            description=pulumi.Output.concat("Routes log entries of ", deployment.title, " to their own bucket"),
            opts=inside,
        )
        logging.ProjectExclusion(
            deployment.logical_name("log"),
            project=deployment.project,
            name=deployment.physical_name("log", 100),
            filter=entries,
            description=pulumi.Output.concat("Log entries of ", deployment.title, " are in their own bucket"),
            # Without the sink, entries would be in neither bucket.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[sink]),
        )
        self.bucket = bucket.id
        self.retained_on_destroy = [
            "the log bucket with MLflow's log entries, which Cloud Logging deletes after 7 days"
        ]
        self.register_outputs({"bucket": self.bucket})
