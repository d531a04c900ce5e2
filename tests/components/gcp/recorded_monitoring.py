"""A recorded Monitoring component, with fakes of the service and the database."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pulumi
import pulumi_random as random

from components.gcp.app_settings import AppSettings
from components.gcp.database import Database
from components.gcp.monitoring import Monitoring
from components.gcp.service import Service
from components.gcp.settings import MonitoringSettings
from preview.graph import Graph
from preview.recorder import record

from .helpers import make_deployment
from .monitoring_filter import Metric

POLICY = "gcp:monitoring/alertPolicy:AlertPolicy"
CHANNEL = "gcp:monitoring/notificationChannel:NotificationChannel"
DASHBOARD = "gcp:monitoring/dashboard:Dashboard"
METRIC = "gcp:logging/metric:Metric"
INSTANCE = "mlflow-database-a1b2c3"


class _FakeService(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:gcp:Service", "mlflow-service")
        random.RandomId("mlflow-version", byte_length=1, opts=pulumi.ResourceOptions(parent=self))


class _FakeDatabase(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("mlflow:gcp:Database", "mlflow-database")
        self.instance_name = pulumi.Output.from_input(INSTANCE)


def record_monitoring(
    *, stack: str = "dev", name: str = "mlflow", tier: str = "db-g1-small", app: AppSettings | None = None, **args: Any
) -> Graph:
    def program() -> None:
        monitoring = Monitoring(
            dataclasses.replace(make_deployment(), component=name, stack=stack, name=name),
            MonitoringSettings(**args),
            app=app or AppSettings(),
            tier=tier,
            database=cast("Database", _FakeDatabase()),
            service=cast("Service", _FakeService()),
        )
        pulumi.export("dashboard_url", monitoring.dashboard_url)

    return record(program, stack_name=stack)


@functools.cache
def default_graph() -> Graph:
    return record_monitoring(
        alarm_email="ops@example.com", canary=True, latency_threshold_seconds=7, log_retention_days=45
    )


def log_metrics(graph: Graph) -> Mapping[str, Metric]:
    """The log-based metrics by type."""
    metrics: dict[str, Metric] = {}
    for metric in graph.of(METRIC):
        descriptor = metric.inputs["metricDescriptor"]
        labels = {label["key"]: label["valueType"] for label in descriptor.get("labels", ())}
        of_scheduler = "cloud_scheduler_job" in metric.inputs["filter"]
        metrics[f"logging.googleapis.com/user/{metric.inputs['name']}"] = Metric(
            "cloud_scheduler_job" if of_scheduler else "gae_app",
            descriptor["metricKind"],
            descriptor["valueType"],
            labels,
        )
    return metrics


def conditions(graph: Graph, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(policy name, condition) of each condition of a kind."""
    for policy in graph.of(POLICY):
        for condition in policy.inputs["conditions"]:
            if kind in condition:
                yield policy.name, condition[kind]
