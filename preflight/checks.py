"""Every check, in the order of the table."""

from collections.abc import Sequence

from . import local
from .aws import account, load_balancer, quotas, services
from .aws import network as vpc
from .aws import permissions as aws_permissions
from .gcp import project
from .gcp import services as google
from .model import Check
from .subject import Subject

CHECKS: tuple[Check, ...] = (
    local.placeholders_left,
    local.secrets,
    local.pulumi_cli,
    local.backend,
    local.passphrase,
    local.state,
    local.builder,
    local.disk_space,
    local.registry_login,
    account.credentials,
    account.account,
    account.region,
    aws_permissions.permissions,
    aws_permissions.service_linked_roles,
    services.names,
    services.sagemaker_mlflow,
    services.mlflow_target,
    *quotas.QUOTAS,
    load_balancer.certificate,
    load_balancer.hosted_zone,
    load_balancer.dns_name,
    services.kms_key,
    account.availability_zones,
    vpc.existing_vpc,
    vpc.subnets,
    vpc.routes,
    vpc.endpoint_services,
    vpc.instance_type,
    services.image_registry,
    services.image_parameter,
    project.credentials,
    project.project,
    project.billing,
    project.apis,
    project.permissions,
    google.names,
    *project.POLICIES,
    google.application,
    google.location,
    google.compute_account,
    google.network,
    project.region,
    google.sql_tier,
    google.sql_name,
    google.oauth_client,
    google.oauth_redirect,
    google.members,
)


def applying(subject: Subject, checks: Sequence[Check] = CHECKS) -> list[Check]:
    """Return the checks of what the stack uses."""
    return [check for check in checks if check.applies(subject)]
