"""What is read of Cloud Monitoring: which metric, of what, and how its time series become the ones that are looked at.

https://cloud.google.com/monitoring/api/v3/filters
"""

from dataclasses import dataclass
from typing import Any

import pulumi

from .place import Place

# App Engine's `system/` metrics are the standard environment's; of the flexible one there is no count of instances, but
# each instance has its own share of the processors.
FLEX_CPU = "appengine.googleapis.com/flex/cpu/utilization"
INSTANCE_CPU = "appengine.googleapis.com/flex/instance/cpu/utilization"
ANSWERS = "appengine.googleapis.com/http/server/response_count"
ANSWER_TIMES = "appengine.googleapis.com/http/server/response_latencies"
DATABASE_CPU = "cloudsql.googleapis.com/database/cpu/utilization"
DATABASE_MEMORY = "cloudsql.googleapis.com/database/memory/utilization"
DATABASE_DISK = "cloudsql.googleapis.com/database/disk/utilization"
CONNECTIONS = "cloudsql.googleapis.com/database/network/connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A monitored resource, by the labels that tell it from others."""

    type: str
    labels: dict[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """``where`` is a further part of the filter. ``by`` are labels whose values stay apart."""

    metric: str
    of: Watched
    aligner: str
    reducer: str
    seconds: int = 60
    where: str = ""
    by: tuple[str, ...] = ()

    @property
    def filter(self) -> pulumi.Output[str]:
        parts: list[pulumi.Input[str]] = [f'resource.type = "{self.of.type}"']
        parts += [pulumi.Output.concat(f'resource.labels.{key} = "', is_, '"') for key, is_ in self.of.labels.items()]
        parts.append(f'metric.type = "{self.metric}"')
        if self.where:
            parts.append(self.where)
        return pulumi.Output.all(*parts).apply(" AND ".join)

    @property
    def aggregation(self) -> dict[str, Any]:
        """As Monitoring's API names it."""
        by = {"groupByFields": list(self.by)} if self.by else {}
        return {
            "alignmentPeriod": f"{self.seconds}s",
            "perSeriesAligner": self.aligner,
            "crossSeriesReducer": self.reducer,
            **by,
        }


# Each says the project, too: one that scopes others would see their services of the same name.
def service_of(place: Place, service: str) -> Watched:
    """All versions of a service."""
    return Watched(type="gae_app", labels={"project_id": place.project, "module_id": service})


def instances_of(place: Place, service: str) -> Watched:
    """Each instance of a service."""
    return Watched(type="gae_instance", labels={"project_id": place.project, "module_id": service})


def database_of(place: Place, instance: pulumi.Input[str]) -> Watched:
    """An instance of Cloud SQL, its standby with it."""
    database = pulumi.Output.concat(place.project, ":", instance)
    return Watched(type="cloudsql_database", labels={"project_id": place.project, "database_id": database})
