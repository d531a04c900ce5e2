"""Results of the providers' functions, from their documentation; strict about arguments."""

from .kinds.aws.calls import CALLS as OF_AWS
from .kinds.gcp.calls import CALLS as OF_GCP

CALLS = {**OF_AWS, **OF_GCP}
