"""A strict double of SageMaker's managed MLflow, in front of a real MLflow server on loopback.

Nothing of the proxy is used here: signatures are checked with botocore. What SageMaker would refuse is refused;
where its behaviour is not known, so is whatever two readings of the rules disagree about.

    async with standin.serve(target_arn=ARN, upstream="http://127.0.0.1:5000", authority=authority) as aws:
        aws.endpoint, aws.environ, aws.faults, aws.credentials, aws.seen
"""

from local.standin.credentials import Credential, Credentials
from local.standin.faults import Fault, Faults
from local.standin.seen import Seen
from local.standin.server import StandIn, serve
from local.standin.target import APP_ARN, TRACKING_SERVER_ARN, Target
from local.standin.tls import Authority

__all__ = [
    "APP_ARN",
    "TRACKING_SERVER_ARN",
    "Authority",
    "Credential",
    "Credentials",
    "Fault",
    "Faults",
    "Seen",
    "StandIn",
    "Target",
    "serve",
]
