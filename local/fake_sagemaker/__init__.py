"""A strict double of SageMaker's managed MLflow, in front of a real MLflow server on loopback.

Nothing of the proxy is used here: signatures are checked with botocore. What SageMaker would refuse is refused;
where its behaviour is not known, so is whatever two readings of the rules disagree about.

    async with fake_sagemaker.serve(target_arn=ARN, upstream="http://127.0.0.1:5000", authority=authority) as aws:
        aws.endpoint, aws.environ, aws.faults, aws.credentials, aws.seen
"""

from local.fake_sagemaker.credentials import Credential, Credentials
from local.fake_sagemaker.faults import Fault, Faults
from local.fake_sagemaker.seen import Seen
from local.fake_sagemaker.server import FakeSageMaker, serve
from local.fake_sagemaker.target import APP_ARN, TRACKING_SERVER_ARN, Target
from local.fake_sagemaker.tls import Authority

__all__ = [
    "APP_ARN",
    "TRACKING_SERVER_ARN",
    "Authority",
    "Credential",
    "Credentials",
    "FakeSageMaker",
    "Fault",
    "Faults",
    "Seen",
    "Target",
    "serve",
]
