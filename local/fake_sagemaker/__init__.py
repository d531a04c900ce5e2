"""A strict fake of SageMaker's managed MLflow, in front of a real MLflow server on 127.0.0.1.

It shares no code with the proxy: botocore verifies the signatures. It rejects what SageMaker rejects, and, where
SageMaker's behavior is unknown, everything that is ambiguous under the specification.

    async with fake_sagemaker.serve(target_arn=ARN, upstream="http://127.0.0.1:5000", authority=authority) as aws:
        aws.endpoint, aws.environ, aws.faults, aws.credentials, aws.recorded_requests
"""

from local.fake_sagemaker.credentials import Credential, Credentials
from local.fake_sagemaker.faults import Fault, Faults
from local.fake_sagemaker.http_message import RecordedRequest
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
    "RecordedRequest",
    "Target",
    "serve",
]
