"""What the providers' functions answer. Written from their documentation; strict about what they are asked."""

from .kinds.aws.calls import CALLS as OF_AWS
from .kinds.gcp.calls import CALLS as OF_GCP

CALLS = {**OF_AWS, **OF_GCP}
