"""The providers' functions (Pulumi's invokes): their results according to the documentation."""

from .kinds.aws.calls import CALLS as AWS_CALLS
from .kinds.gcp.calls import CALLS as GCP_CALLS

CALLS = {**AWS_CALLS, **GCP_CALLS}
