"""Presigned links to SageMaker's MLflow UI."""

import asyncio
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from .. import errors
from ..sigv4 import Credentials
from ..target import SageMakerTarget

_LINK_SECONDS = 60
_SESSION_SECONDS = 12 * 3600


async def ui_link(target: SageMakerTarget, credentials: Credentials) -> str:
    """A URL for one use within 60 seconds; it opens a session of twelve hours with the proxy's rights.

    Raises ApiError 502 if SageMaker returns none. Source: the SageMaker API actions CreatePresignedMlflowAppUrl and
    CreatePresignedMlflowTrackingServerUrl.
    """
    try:
        return await asyncio.to_thread(_presigned_url, target, credentials)
    except (BotoCoreError, ClientError) as error:
        raise errors.bad_gateway(f"SageMaker returned no link to its UI: {error}", reason="ui-link-failed") from error


def _presigned_url(target: SageMakerTarget, credentials: Credentials) -> str:
    client: Any = botocore.session.Session().create_client(
        "sagemaker",
        region_name=target.region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.token or None,
    )
    ends = {"ExpiresInSeconds": _LINK_SECONDS, "SessionExpirationDurationInSeconds": _SESSION_SECONDS}
    if target.serverless:
        response = client.create_presigned_mlflow_app_url(Arn=target.arn, **ends)
    else:
        response = client.create_presigned_mlflow_tracking_server_url(TrackingServerName=target.name, **ends)
    return response["AuthorizedUrl"]
