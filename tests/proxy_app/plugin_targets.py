"""Print, as JSON, the target that AWS's MLflow plugin derives from each ARN on standard input.

A target is [origin, region, service, header], or the text of an error. A script, since importing MLflow takes seconds.
"""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

import boto3  # noqa: E402
from sagemaker_mlflow.auth_provider import AuthProvider  # noqa: E402
from sagemaker_mlflow.exceptions import MlflowSageMakerException  # noqa: E402
from sagemaker_mlflow.mlflow_sagemaker_helpers import SageMakerMLflowHostMetadataProvider  # noqa: E402
from sagemaker_mlflow.mlflow_sagemaker_request_header_provider import (  # noqa: E402
    MlflowSageMakerRequestHeaderProvider,
)
from sagemaker_mlflow.session import set_session  # noqa: E402


def target(arn: str) -> list[str] | str:
    os.environ["MLFLOW_TRACKING_URI"] = arn
    provider = SageMakerMLflowHostMetadataProvider()
    try:
        provider.set_arn(arn)
        origin = provider.construct_tracking_server_url()
        auth = AuthProvider().get_auth()
        [(header, value)] = MlflowSageMakerRequestHeaderProvider().request_headers().items()
    except MlflowSageMakerException as error:
        return str(error)
    assert value == arn
    return [origin, auth.region, auth.sigv4._service_name, header]  # pyright: ignore


set_session(boto3.Session())  # one session for all ARNs
print(json.dumps({arn: target(arn) for arn in json.load(sys.stdin)}))
