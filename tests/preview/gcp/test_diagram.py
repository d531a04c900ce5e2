from collections.abc import Callable

import pulumi
import pulumi_gcp as gcp

from preview.diagram import mermaid
from preview.recorder import record

from .programs import PROJECT, account, application, database, grant_iap_access, placeholder, version


def deployment() -> None:
    application()
    placeholder()
    instance, server = database(), account("server")
    bucket = gcp.storage.Bucket("data", location="EU")
    gcp.storage.Bucket("unused", location="EU")
    gcp.storage.BucketIAMMember("data", bucket=bucket.name, role="roles/storage.objectUser", member=server.member)
    version({"INSTANCE": instance.connection_name}, service_account=server.email)


def edges(program: Callable[[], object]) -> list[str]:
    lines = mermaid(record(program)).splitlines()
    return [line.strip() for line in lines if "-->" in line]


def test_edges_lead_from_clients_through_identity_aware_proxy_to_the_data() -> None:
    def program() -> None:
        deployment()
        grant_iap_access("users", "domain:example.com")
        grant_iap_access("more", "user:a@example.com")
        grant_iap_access("jobs", "serviceAccount:a@b.iam.gserviceaccount.com")

    assert edges(program) == [
        'outside0 -->|"443"| app_Application',
        'outside1 -->|"443"| app_Application',
        'app_Application -->|"IAP assertion"| mlflow_FlexibleAppVersion',
        'mlflow_FlexibleAppVersion -->|"3307"| data_DatabaseInstance',
        'mlflow_FlexibleAppVersion -->|"objectUser"| data_Bucket',
    ]
    flowchart = mermaid(record(program))
    assert '  outside0(["browsers and notebooks"])\n  outside1(["training jobs"])\n' in flowchart


def test_application_without_members_has_no_clients() -> None:
    assert "outside" not in mermaid(record(deployment))


def test_logs_and_metrics_lead_to_log_buckets_and_alerts() -> None:
    def program() -> None:
        deployment()
        for name, service in (("own", "mlflow"), ("other", "others")):
            log = gcp.logging.ProjectBucketConfig(name, project=PROJECT, location="europe-west1", bucket_id=name)
            gcp.logging.ProjectSink(
                name,
                project=PROJECT,
                destination=pulumi.Output.concat("logging.googleapis.com/", log.id),
                filter=f'resource.labels.module_id = "{service}"',
            )
        channel = gcp.monitoring.NotificationChannel(
            "mail", project=PROJECT, type="email", labels={"email_address": "ops@example.com"}
        )
        for name, filter_text in (("up", 'module_id = "mlflow"'), ("disk", f'database_id = "{PROJECT}:data"')):
            threshold = gcp.monitoring.AlertPolicyConditionConditionThresholdArgs(
                comparison="COMPARISON_GT", duration="60s", filter=filter_text
            )
            gcp.monitoring.AlertPolicy(
                name,
                project=PROJECT,
                combiner="OR",
                display_name=name,
                conditions=[gcp.monitoring.AlertPolicyConditionArgs(display_name=name, condition_threshold=threshold)],
                notification_channels=[channel.name],
            )

    assert edges(program)[-5:] == [
        'mlflow_FlexibleAppVersion -->|"logs"| own_ProjectBucketConfig',
        'mlflow_FlexibleAppVersion -->|"metrics"| up_AlertPolicy',
        'data_DatabaseInstance -->|"metrics"| disk_AlertPolicy',
        'up_AlertPolicy -->|"email"| outside0',
        'disk_AlertPolicy -->|"email"| outside0',
    ]
