"""Searches for the service of the proxy: instances, tasks and the load balancer."""

import shlex
from collections.abc import Iterator

from preflight.subject import Subject

from ..model import Left, search
from ..owner import Owner
from .kinds import ASG, CONTAINERS, LOAD_BALANCING
from .tags import AWS, filters_of, of_kinds, options_of

_TASK = "aws:ecs/taskDefinition:TaskDefinition"


@search("aws Auto Scaling groups", types=AWS)
def groups(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No Auto Scaling group is left, which would start instances again."""
    for owner in owners:
        found = subject.aws.call("autoscaling", "describe_auto_scaling_groups", Filters=filters_of(owner))
        for one in found["AutoScalingGroups"]:
            name = one["AutoScalingGroupName"]
            yield Left(
                f"Auto Scaling group {name}",
                f"aws autoscaling delete-auto-scaling-group --auto-scaling-group-name {shlex.quote(name)} "
                f"--force-delete{options_of(subject)}",
                ASG,
                (name,),
            )


@search("aws containers", types=AWS)
def containers(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No ECS service, instance, cluster, capacity provider or launch template is left."""
    return of_kinds(subject, owners, CONTAINERS)


@search("aws task definitions", types=AWS)
def task_definitions(subject: Subject, owners: list[Owner]) -> Iterator[Left]:
    """No revision of a task definition is left, retired ones included."""
    options = options_of(subject)
    for owner in owners:
        family = owner.physical_name("proxy", 255)
        for status in ("ACTIVE", "INACTIVE"):
            found = subject.aws.call("ecs", "list_task_definitions", familyPrefix=family, status=status)
            for arn in found["taskDefinitionArns"]:
                # familyPrefix is a prefix of the whole name in moto, and the family in AWS's API.
                name = arn.rpartition("/")[2]
                if name.rpartition(":")[0] != family:
                    continue
                retire = f"aws ecs deregister-task-definition --task-definition {name}{options} && "
                yield Left(
                    f"task definition {name}",
                    (retire if status == "ACTIVE" else "")
                    + f"aws ecs delete-task-definitions --task-definitions {name}{options}",
                    _TASK,
                    (arn,),
                    # Retired revisions belong to a family that is in use.
                    (_TASK, family),
                )


@search("aws load balancing", types=AWS)
def load_balancing(subject: Subject, owners: list[Owner]) -> list[Left]:
    """No load balancer, target group, web ACL or certificate is left."""
    return of_kinds(subject, owners, LOAD_BALANCING)
