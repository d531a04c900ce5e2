"""Requests to the fake SageMaker, signed by botocore as the sagemaker-mlflow plugin does, with injectable errors."""

import contextlib
import hashlib
import io
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from multidict import CIMultiDict
from yarl import URL

from local.fake_sagemaker import Credential, FakeSageMaker

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


def sign(
    fake_sagemaker: FakeSageMaker,
    target: str = SEARCH,
    *,
    method: str = "GET",
    body: bytes = b"",
    signed_target: str | None = None,
    credential: Credential | None = None,
    service: str | None = None,
    region: str | None = None,
    headers: dict[str, str] | None = None,
) -> CIMultiDict[str]:
    """The headers of a signed request. `signed_target` replaces the target in the signature."""
    credential = credential or fake_sagemaker.credentials.current()
    digest = hashlib.sha256(body).hexdigest()
    required = {fake_sagemaker.target.header: fake_sagemaker.target.arn, "X-Amz-Content-SHA256": digest}
    request = AWSRequest(
        method=method,
        url=fake_sagemaker.endpoint + (target if signed_target is None else signed_target),
        data=body,
        headers={**required, **(headers or {})},
    )
    SigV4Auth(
        Keys(credential.access_key, credential.secret_key, credential.token),
        service or fake_sagemaker.target.service,
        region or fake_sagemaker.target.region,
    ).add_auth(request)
    return CIMultiDict(request.headers.items())


@contextlib.asynccontextmanager
async def open_response(
    fake_sagemaker: FakeSageMaker,
    headers: CIMultiDict[str],
    target: str = SEARCH,
    *,
    method: str = "GET",
    body: bytes = b"",
) -> AsyncGenerator[aiohttp.ClientResponse]:
    """Send the request unchanged on a new connection; yields the response before its body is read."""
    tls = ssl.create_default_context(cafile=str(fake_sagemaker.ca_file))
    data = io.BytesIO(body) if body else None
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.request(
            method, URL(fake_sagemaker.endpoint + target, encoded=True), headers=headers, data=data
        ) as response,
    ):
        yield response


async def send(
    fake_sagemaker: FakeSageMaker, headers: CIMultiDict[str], target: str = SEARCH, **options: Any
) -> tuple[int, dict[str, Any], str]:
    """(status, JSON, AWS error type) of the response to the request, which is sent unchanged."""
    async with open_response(fake_sagemaker, headers, target, **options) as response:
        assert response.headers["x-amzn-RequestId"]
        return response.status, await response.json(), response.headers.get("x-amzn-ErrorType", "")
