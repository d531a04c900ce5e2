"""Every search, in an order in which the removals succeed: first what uses other resources."""

from typing import Any

from preflight.aws import account
from preflight.gcp import project
from preflight.model import Check, Fault, check
from preflight.subject import Subject

from . import gcp
from .aws import containers, data, network, sagemaker
from .owner import Held


@check("pulumi state")
def state(subject: Subject) -> str | list[Fault]:
    """The stack's state was read: what it holds is not listed."""
    deployment: dict[str, Any] = subject.state.deployment()
    held = Held(subject)
    if not deployment:
        return f"the backend that is logged in has no stack {subject.stack.name}: is it the backend of the stack?"
    return f"{len(held.resources)} resources, which are not listed"


SEARCHES: tuple[Check, ...] = (
    state,
    account.credentials,
    account.account,
    containers.groups,
    containers.containers,
    containers.task_definitions,
    containers.load_balancing,
    sagemaker.mlflow,
    sagemaker.studio,
    network.network,
    network.guard_duty,
    network.security_groups,
    network.vpc,
    data.data,
    data.secrets,
    data.logs,
    data.roles,
    data.others,
    project.credentials,
    project.project,
    gcp.versions,
    gcp.databases,
    gcp.buckets,
    gcp.repositories,
    gcp.secrets,
    gcp.logs,
    gcp.alerts,
    gcp.network,
    gcp.accounts,
)
