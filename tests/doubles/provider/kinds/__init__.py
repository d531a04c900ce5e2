"""Every type of resource that the double supports: AWS in aws/, Google Cloud in gcp/, others in this folder."""

from . import aws, gcp, images, values

KINDS = {kind.token: kind for module in (aws, gcp, images, values) for kind in module.KINDS}
