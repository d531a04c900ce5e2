"""The clouds that a preview knows."""

from . import aws, gcp
from .cloud import Cloud

CLOUDS: tuple[Cloud, ...] = (aws.CLOUD, gcp.CLOUD)
