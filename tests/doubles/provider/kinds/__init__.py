"""Every kind of resource that the double knows: those of a cloud in aws/ and gcp/, those of no cloud beside them."""

from . import aws, gcp, images, values

KINDS = {kind.token: kind for module in (aws, gcp, images, values) for kind in module.KINDS}
