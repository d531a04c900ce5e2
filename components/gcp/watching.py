"""Where the log goes, what is counted from it, alerts, who is told of them, and a dashboard."""

import pulumi
from pulumi_gcp import monitoring

from .alerts import alerts
from .args import AppArgs, WatchingArgs
from .dashboard import dashboard
from .database import Database
from .log_store import LogStore
from .metrics import metrics
from .place import Place
from .service import Service


class Watching(pulumi.ComponentResource):
    """Is it up, who uses it, what is slow."""

    dashboard_url: pulumi.Output[str | None]
    kept: list[str]
    """What stays after a destroy, and why."""

    def __init__(
        self,
        place: Place,
        args: WatchingArgs,
        *,
        app: AppArgs,
        tier: str,
        database: Database,
        service: Service,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """``tier`` is the database's."""
        super().__init__("mlflow:gcp:Watching", place.named("watching"), {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        store = LogStore(place, service=app.service, days=args.log_days, opts=inside)
        self.kept = store.kept
        counted = metrics(place, app.service, self)
        made = alerts(
            place,
            args,
            app=app,
            tier=tier,
            database=database,
            after=service,
            channel=_channel(place, args, self),
            parent=self,
        )
        self.dashboard_url = pulumi.Output.from_input(
            dashboard(
                place,
                args,
                app=app,
                database=database,
                bucket=store.bucket,
                alerts=made,
                metrics=counted,
                parent=self,
            )
            if args.dashboard
            else None
        )
        self.register_outputs({"dashboard_url": self.dashboard_url})


def _channel(place: Place, args: WatchingArgs, parent: pulumi.Resource) -> pulumi.Output[str] | None:
    if args.email is None:
        return None
    made = monitoring.NotificationChannel(
        place.named("email"),
        project=place.project,
        type="email",
        labels={"email_address": args.email},
        display_name=f"{place.name} ({place.stack})",
        user_labels=place.labels,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return made.name
