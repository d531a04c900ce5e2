"""Monitoring: the log bucket, log-based metrics, alerts with their notification channel, and a dashboard."""

import pulumi
from pulumi_gcp import monitoring

from .alerts import create_alerts
from .app_settings import AppSettings
from .dashboard import create_dashboard
from .database import Database
from .deployment import Deployment
from .log_bucket import LogBucket
from .log_metrics import create_log_metrics
from .service import Service
from .settings import MonitoringSettings


class Monitoring(pulumi.ComponentResource):
    """Logs, alerts and the dashboard of one deployment."""

    dashboard_url: pulumi.Output[str | None]
    """URL of the dashboard; None without one."""
    retained_on_destroy: list[str]
    """Resources that remain after a destroy, with the reason."""

    def __init__(
        self,
        deployment: Deployment,
        args: MonitoringSettings,
        *,
        app: AppSettings,
        tier: str,
        database: Database,
        service: Service,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``tier`` is the database's machine type."""
        super().__init__("mlflow:gcp:Monitoring", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        log_bucket = LogBucket(deployment, service=app.service, retention_days=args.log_retention_days, opts=inside)
        self.retained_on_destroy = log_bucket.retained_on_destroy
        metrics = create_log_metrics(deployment, app.service, self, canary=args.canary)
        policies = create_alerts(
            deployment,
            args,
            app=app,
            tier=tier,
            database=database,
            after=service,
            channel=_channel(deployment, args, self),
            parent=self,
        )
        self.dashboard_url = pulumi.Output.from_input(
            create_dashboard(
                deployment,
                args,
                app=app,
                database=database,
                log_bucket=log_bucket.bucket,
                alerts=policies,
                metrics=metrics,
                parent=self,
            )
            if args.dashboard
            else None
        )
        self.register_outputs({"dashboard_url": self.dashboard_url})


def _channel(deployment: Deployment, args: MonitoringSettings, parent: pulumi.Resource) -> pulumi.Output[str] | None:
    if args.alarm_email is None:
        return None
    channel = monitoring.NotificationChannel(
        deployment.logical_name("email"),
        project=deployment.project,
        type="email",
        labels={"email_address": args.alarm_email},
        display_name=deployment.title,
        user_labels=deployment.labels,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return channel.name
