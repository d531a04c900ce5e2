"""Small Google Cloud programs, each for one feature of the preview."""

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

import pulumi
import pulumi_gcp as gcp

from components import proxy_environment

PROJECT = "my-project"
AUDIENCE = {proxy_environment.IAP_AUDIENCE: "/projects/1/apps/my-project"}
PROXY = {**AUDIENCE, proxy_environment.ROLE_RULES: "domain:example.com=viewer, email:a@example.com=admin"}


def application(*, iap: bool | None = True) -> gcp.appengine.Application:
    """An application; ``iap`` enables or disables Identity-Aware Proxy, and None sets no value."""
    args = None
    if iap is not None:
        args = gcp.appengine.ApplicationIapArgs(enabled=iap, oauth2_client_id="x", oauth2_client_secret="x")
    return gcp.appengine.Application("app", project=PROJECT, location_id="europe-west", iap=args)


class VersionArgs(TypedDict, total=False):
    """Further arguments of a version."""

    network: gcp.appengine.FlexibleAppVersionNetworkArgs
    service_account: pulumi.Input[str]
    noop_on_destroy: bool
    delete_service_on_destroy: bool


def version(
    variables: Mapping[str, pulumi.Input[str]] = PROXY, service: str = "mlflow", **more: Unpack[VersionArgs]
) -> gcp.appengine.FlexibleAppVersion:
    """A version whose container has these environment variables."""
    return gcp.appengine.FlexibleAppVersion(
        service,
        project=PROJECT,
        service=service,
        version_id="v1",
        runtime="custom",
        env_variables=variables,
        liveness_check=gcp.appengine.FlexibleAppVersionLivenessCheckArgs(path="/live"),
        readiness_check=gcp.appengine.FlexibleAppVersionReadinessCheckArgs(path="/ready"),
        **more,
    )


def placeholder() -> gcp.appengine.StandardAppVersion:
    """The placeholder on the service default."""
    return gcp.appengine.StandardAppVersion(
        "placeholder",
        project=PROJECT,
        service="default",
        version_id="placeholder",
        runtime="python313",
        deployment=gcp.appengine.StandardAppVersionDeploymentArgs(),
        entrypoint=gcp.appengine.StandardAppVersionEntrypointArgs(shell="x"),
        noop_on_destroy=True,
    )


def grant_iap_access(name: str, member: pulumi.Input[str], until: str = "", service: str = "mlflow") -> None:
    """Grant access through Identity-Aware Proxy; ``until`` is a year."""
    condition = gcp.iap.AppEngineServiceIamMemberConditionArgs(title=f"until {until}", expression=f"year < {until}")
    gcp.iap.AppEngineServiceIamMember(
        name,
        project=PROJECT,
        app_id=PROJECT,
        service=service,
        role="roles/iap.httpsResourceAccessor",
        member=member,
        condition=condition if until else None,
    )


def account(name: str) -> gcp.serviceaccount.Account:
    """A service account."""
    return gcp.serviceaccount.Account(name, project=PROJECT, account_id=name)


def grant(name: str, role: str, member: pulumi.Input[str], **more: Any) -> None:
    """Grant a role on the project."""
    gcp.projects.IAMMember(name, project=PROJECT, role=role, member=member, **more)


def database(
    name: str = "data",
    *,
    ip: gcp.sql.DatabaseInstanceSettingsIpConfigurationArgs | None = None,
    settings: gcp.sql.DatabaseInstanceSettingsArgs | None = None,
    instance_name: str | None = None,
    **more: Any,
) -> gcp.sql.DatabaseInstance:
    """A Cloud SQL instance."""
    return gcp.sql.DatabaseInstance(
        name,
        project=PROJECT,
        region="europe-west1",
        database_version="MYSQL_8_4",
        name=instance_name,
        settings=settings or gcp.sql.DatabaseInstanceSettingsArgs(tier="db-g1-small", ip_configuration=ip),
        **more,
    )


def vpc() -> gcp.compute.Network:
    """A network without subnetworks."""
    return gcp.compute.Network("vpc", project=PROJECT, auto_create_subnetworks=False)


class FirewallRule(TypedDict, total=False):
    """Arguments of a firewall rule."""

    source_ranges: list[str]
    allows: list[gcp.compute.FirewallAllowArgs]


def firewall_rule(name: str, network: gcp.compute.Network, **arguments: Unpack[FirewallRule]) -> None:
    """A firewall rule."""
    gcp.compute.Firewall(name, project=PROJECT, network=network.id, **arguments)
