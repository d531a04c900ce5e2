"""Queries of Cloud Monitoring: metric types, monitored resources, and the filters and aggregations of time series.

https://cloud.google.com/monitoring/api/v3/filters
"""

from dataclasses import dataclass
from typing import Any

import pulumi

from .deployment import Deployment

# App Engine's `system/` metrics cover the standard environment only. The flexible environment has no instance count,
# but each instance reports its CPU utilization.
FLEX_CPU = "appengine.googleapis.com/flex/cpu/utilization"
INSTANCE_CPU = "appengine.googleapis.com/flex/instance/cpu/utilization"
RESPONSE_COUNT = "appengine.googleapis.com/http/server/response_count"
RESPONSE_LATENCIES = "appengine.googleapis.com/http/server/response_latencies"
DATABASE_CPU = "cloudsql.googleapis.com/database/cpu/utilization"
DATABASE_MEMORY = "cloudsql.googleapis.com/database/memory/utilization"
DATABASE_DISK = "cloudsql.googleapis.com/database/disk/utilization"
DATABASE_CONNECTIONS = "cloudsql.googleapis.com/database/network/connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredResource:
    """A type of monitored resource and the labels that select one of them."""

    type: str
    labels: dict[str, pulumi.Input[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeries:
    """A time series query. ``where`` is an additional filter, ``by`` are the labels to group by."""

    metric: pulumi.Input[str]
    of: MonitoredResource
    aligner: str
    reducer: str
    seconds: int = 60
    where: str = ""
    by: tuple[str, ...] = ()

    @property
    def filter(self) -> pulumi.Output[str]:
        """The Cloud Monitoring filter."""
        parts: list[pulumi.Input[str]] = [f'resource.type = "{self.of.type}"']
        parts += [pulumi.Output.concat(f'resource.labels.{key} = "', is_, '"') for key, is_ in self.of.labels.items()]
        parts.append(pulumi.Output.concat('metric.type = "', self.metric, '"'))
        if self.where:
            parts.append(self.where)
        return pulumi.Output.all(*parts).apply(" AND ".join)

    @property
    def aggregation(self) -> dict[str, Any]:
        """The Aggregation object of the Cloud Monitoring API."""
        by = {"groupByFields": list(self.by)} if self.by else {}
        return {
            "alignmentPeriod": f"{self.seconds}s",
            "perSeriesAligner": self.aligner,
            "crossSeriesReducer": self.reducer,
            **by,
        }


# Each selects the project, too: a scoping project also has the time series of its monitored projects.
def service_of(deployment: Deployment, service: str) -> MonitoredResource:
    """All versions of an App Engine service."""
    return MonitoredResource(type="gae_app", labels={"project_id": deployment.project, "module_id": service})


def instances_of(deployment: Deployment, service: str) -> MonitoredResource:
    """The instances of an App Engine service."""
    return MonitoredResource(type="gae_instance", labels={"project_id": deployment.project, "module_id": service})


def database_of(deployment: Deployment, instance: pulumi.Input[str]) -> MonitoredResource:
    """A Cloud SQL instance, including its standby."""
    database = pulumi.Output.concat(deployment.project, ":", instance)
    return MonitoredResource(
        type="cloudsql_database", labels={"project_id": deployment.project, "database_id": database}
    )
