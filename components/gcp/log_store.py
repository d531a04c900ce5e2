"""Where the lines of MLflow, the proxy and App Engine's front go, for as long as is set. Who counts them is left to
others.

They name callers: `_Default`, where whoever may see logs sees them for 30 days, keeps no copy. That is an exclusion of
our own beside those that its sink has, which stay as they are.
https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.exclusions/create
"""

import pulumi
import pulumi_random as random
from pulumi_gcp import logging

from .place import Place


def lines_of(service: str) -> str:
    """Cloud Logging's filter for the lines of a service.

    App Engine's front writes one for each health check, too, which nobody reads: those stay where they are.
    """
    return "\n".join(
        [
            'resource.type = "gae_app"',
            f'resource.labels.module_id = "{service}"',
            'NOT log_id("appengine.googleapis.com/nginx.health_check")',
        ]
    )


class LogStore(pulumi.ComponentResource):
    """A log bucket in the stack's region, and the way there."""

    bucket: pulumi.Output[str]
    """projects/PROJECT/locations/REGION/buckets/NAME."""
    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(self, place: Place, *, service: str, days: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow:gcp:LogStore", place.named("log"), {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        # The name of a deleted one is taken for seven days, and the provider would take what is left of it for its own.
        # https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.locations.buckets/delete
        end = random.RandomId(place.named("log"), byte_length=3, opts=inside)
        bucket = logging.ProjectBucketConfig(
            place.named("log"),
            project=place.project,
            location=place.region,
            bucket_id=pulumi.Output.concat(place.physical_name("log", 80), "-", end.hex),
            description=f"Lines of {place.name} ({place.stack}), service {service}",
            retention_days=days,
            opts=inside,
        )
        lines = lines_of(service)
        # In the same project it has no writer's identity, and needs no right.
        # https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks#LogSink
        sink = logging.ProjectSink(
            place.named("log"),
            project=place.project,
            name=place.physical_name("log", 100),
            destination=pulumi.Output.concat("logging.googleapis.com/", bucket.id),
            filter=lines,
            description=f"Lines of {place.name} ({place.stack}) go to a bucket of their own",
            opts=inside,
        )
        logging.ProjectExclusion(
            place.named("log"),
            project=place.project,
            name=place.physical_name("log", 100),
            filter=lines,
            description=f"Lines of {place.name} ({place.stack}) are in a bucket of their own",
            # Never without the other: a line would be in neither.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[sink]),
        )
        self.bucket = bucket.id
        self.kept = ["the log bucket with MLflow's lines, which Cloud Logging deletes after 7 days"]
        self.register_outputs({"bucket": self.bucket})
