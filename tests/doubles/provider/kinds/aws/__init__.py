"""AWS, one module for each box of the picture."""

from . import edge, identity, instances, network, registry, sagemaker, stores, watching

KINDS = tuple(
    kind
    for module in (network, edge, identity, registry, instances, sagemaker, stores, watching)
    for kind in module.KINDS
)
