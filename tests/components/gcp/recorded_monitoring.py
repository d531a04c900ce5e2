"""A recorded Monitoring component with placeholders for the service and the database."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pulumi
import pulumi_random as random

from components.gcp.database import Database
from components.gcp.monitoring import Monitoring
from components.gcp.service import Service
from components.gcp.settings import AppSettings, MonitoringSettings
from preview.graph import Graph
from preview.recorder import record

from .helpers import make_deployment
from .monitoring_filter import Metric

POLICY = "gcp:monitoring/alertPolicy:AlertPolicy"
CHANNEL = "gcp:monitoring/notificationChannel:NotificationChannel"
DASHBOARD = "gcp:monitoring/dashboard:Dashboard"
METRIC = "gcp:logging/metric:Metric"
INSTANCE = "mlflow-database-a1b2c3"


class _Service(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:gcp:Service", "mlflow-service")
        random.RandomId("mlflow-version", byte_length=1, opts=pulumi.ResourceOptions(parent=self))


class _Database(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:gcp:Database", "mlflow-database")
        self.instance_name = pulumi.Output.from_input(INSTANCE)


def recorded(
    *, stack: str = "dev", name: str = "mlflow", tier: str = "db-g1-small", app: AppSettings | None = None, **args: Any
) -> Graph:
    def program() -> None:
        monitoring = Monitoring(
            dataclasses.replace(make_deployment(), stack=stack, name=name),
            MonitoringSettings(**args),
            app=app or AppSettings(),
            tier=tier,
            database=cast("Database", _Database()),
            service=cast("Service", _Service()),
        )
        pulumi.export("dashboard_url", monitoring.dashboard_url)

    return record(program, stack_name=stack)


@functools.cache
def graph() -> Graph:
    return recorded(alarm_email="ops@example.com", latency_threshold_seconds=7, log_retention_days=45)


def own_metrics(of: Graph) -> Mapping[str, Metric]:
    """The log-based metrics by type."""
    found: dict[str, Metric] = {}
    for one in of.of(METRIC):
        described = one.inputs["metricDescriptor"]
        labels = {label["key"]: label["valueType"] for label in described.get("labels", ())}
        found[f"logging.googleapis.com/user/{one.inputs['name']}"] = Metric(
            "gae_app", described["metricKind"], described["valueType"], labels
        )
    return found


def conditions(of: Graph, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(policy name, condition) of each condition of a kind."""
    for policy in of.of(POLICY):
        for condition in policy.inputs["conditions"]:
            if kind in condition:
                yield policy.name, condition[kind]
