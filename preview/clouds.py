"""The clouds that a preview supports."""

from . import aws, gcp
from .cloud import Cloud

CLOUDS: tuple[Cloud, ...] = (aws.CLOUD, gcp.CLOUD)
