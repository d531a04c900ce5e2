"""Every kind of resource that the double knows, one module for each box of the picture."""

from . import edge, identity, image, instances, network, sagemaker, stores, values, watching

KINDS = {
    kind.token: kind
    for module in (network, edge, identity, image, instances, sagemaker, stores, values, watching)
    for kind in module.KINDS
}
