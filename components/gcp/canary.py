"""A request every five minutes through Identity-Aware Proxy to MLflow and its database, by Cloud Scheduler.

Uptime checks cannot sign in at Identity-Aware Proxy. Cloud Scheduler can: its requests carry an ID token of a service
account for the OAuth client. A failed request is a log entry of severity ERROR, which an alert counts.
https://cloud.google.com/scheduler/docs/http-target-auth
"""

import pulumi
from pulumi_gcp import cloudscheduler, iap, serviceaccount

from .app_engine import AppEngine
from .deployment import Deployment
from .service import Service

# The cheapest request that reads the database.
_PATH = "/api/2.0/mlflow/experiments/search?max_results=1"
_EVERY_FIVE_MINUTES = "*/5 * * * *"
_DEADLINE = "60s"


def canary_account_id(deployment: Deployment) -> pulumi.Output[str]:
    """The account ID of the canary's service account."""
    return deployment.physical_name("canary", 30)


def job_id(deployment: Deployment) -> pulumi.Output[str]:
    """The ID of the Cloud Scheduler job."""
    return deployment.physical_name("canary", 500)


class Canary(pulumi.ComponentResource):
    """The job and its service account, which is a viewer in MLflow (iap_access.all_role_rules)."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        app: AppEngine,
        service: Service,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlflow:gcp:Canary", deployment.component, {}, opts)
        inside = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            deployment.logical_name("canary"),
            project=deployment.project,
            account_id=canary_account_id(deployment),
            display_name=pulumi.Output.concat("Canary requests to MLflow, ", deployment.stack),
            opts=inside,
        )
        access = iap.AppEngineServiceIamMember(
            deployment.logical_name("canary"),
            project=deployment.project,
            app_id=app.app_id,
            service=service.service,
            role="roles/iap.httpsResourceAccessor",
            member=account.member,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )
        cloudscheduler.Job(
            deployment.logical_name("canary"),
            project=deployment.project,
            region=deployment.region,
            name=job_id(deployment),
            description=pulumi.Output.concat("Canary requests to MLflow, ", deployment.stack),
            schedule=_EVERY_FIVE_MINUTES,
            time_zone="Etc/UTC",
            attempt_deadline=_DEADLINE,
            # The next request follows soon, and a repeated one would hide a failure.
            retry_config=cloudscheduler.JobRetryConfigArgs(retry_count=0),
            http_target=cloudscheduler.JobHttpTargetArgs(
                http_method="GET",
                uri=pulumi.Output.concat(service.url, _PATH),
                oidc_token=cloudscheduler.JobHttpTargetOidcTokenArgs(
                    service_account_email=account.email,
                    # Identity-Aware Proxy's audience. GcpMlflowSettings requires a client ID.
                    audience=app.client_id.apply(lambda client_id: client_id or ""),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[access]),
        )
        self.register_outputs({})
