"""AWS, one module for each child component."""

from . import ecs, identity, instances, load_balancer, monitoring, network, registry, sagemaker, stores

KINDS = tuple(
    kind
    for module in (network, load_balancer, identity, registry, instances, ecs, sagemaker, stores, monitoring)
    for kind in module.KINDS
)
