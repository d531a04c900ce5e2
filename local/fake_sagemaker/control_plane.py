"""The fake control plane: SageMaker's presigned URLs (JSON 1.1) and STS's AssumeRole (query protocol)."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from aiohttp import web

from local.fake_sagemaker import faults, request_checks
from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.errors import AwsError, control_plane_error, new_request_id
from local.fake_sagemaker.faults import Faults
from local.fake_sagemaker.http_message import ReceivedRequest
from local.fake_sagemaker.mlflow_api import receive
from local.fake_sagemaker.mlflow_ui import PresignedUrls
from local.fake_sagemaker.signature import verify_signature
from local.fake_sagemaker.target import Target

_log = logging.getLogger("fake_sagemaker")


class _Field(NamedTuple):
    kind: type
    low: int
    high: int
    pattern: str = ""
    required: bool = False


_SECONDS = {
    "ExpiresInSeconds": _Field(int, 5, 300),
    "SessionExpirationDurationInSeconds": _Field(int, 1800, 43200),
}
# Parameters and limits from botocore's model of SageMaker, 2017-07-24.
OPERATIONS: Mapping[str, Mapping[str, _Field]] = {
    "CreatePresignedMlflowTrackingServerUrl": {
        "TrackingServerName": _Field(str, 1, 256, r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}", required=True),
        **_SECONDS,
    },
    "CreatePresignedMlflowAppUrl": {
        "Arn": _Field(str, 1, 128, r"arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:mlflow-app/.*", required=True),
        **_SECONDS,
    },
}


class ControlPlane:
    """Handles requests to SageMaker, which have the header X-Amz-Target, and to STS, which do not."""

    def __init__(
        self,
        *,
        target: Target,
        credentials: Credentials,
        presigned_urls: PresignedUrls,
        injected: Faults,
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._presigned_urls = presigned_urls
        self._faults = injected
        self._clock = clock
        self.port = 0
        """The port of the listener; set once it listens."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The result of the operation, or an error."""
        fault = None
        try:
            received = await receive(request)
            request_checks.reject_client_headers(received, self.port)
            operation = received.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
            self._verify(received, "sagemaker" if operation else "sts")
            fault = self._faults.next_for("control", received.path)
            await faults.apply_before_forwarding(fault, request)
            return self._presign(operation, received) if operation else self._assume_role(received)
        except AwsError as error:
            _log.log(logging.INFO if fault else logging.WARNING, "control plane request rejected: %s", error)
            response = control_plane_error(error)
            response.headers.update(faults.retry_after_header(fault))
            return response

    def _verify(self, received: ReceivedRequest, service: str) -> None:
        verify_signature(received, self._credentials, service=service, region=self._target.region, now=self._clock())

    def _presign(self, operation: str, received: ReceivedRequest) -> web.Response:
        if operation not in OPERATIONS:
            raise AwsError("UnknownOperationException", f"The fake SageMaker has no operation {operation}.")
        values = _validated(operation, received.body)
        requested = values.get("TrackingServerName", values.get("Arn"))
        existing = {
            "CreatePresignedMlflowTrackingServerUrl": ("mlflow-tracking-server", self._target.name),
            "CreatePresignedMlflowAppUrl": ("mlflow-app", self._target.arn),
        }[operation]
        if existing != (self._target.kind, requested):
            raise AwsError("ResourceNotFound", f"{requested} does not exist.")
        url = self._presigned_urls.create(
            valid=values.get("ExpiresInSeconds", 300),
            session=values.get("SessionExpirationDurationInSeconds", 43200),
        )
        return web.Response(
            body=json.dumps({"AuthorizedUrl": url}).encode(),
            headers={"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": new_request_id()},
        )

    def _assume_role(self, received: ReceivedRequest) -> web.Response:
        """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
        form = {name: values[0] for name, values in parse_qs(received.body.decode("utf-8", "replace")).items()}
        if form.get("Action") != "AssumeRole":
            raise AwsError("InvalidAction", f"The fake SageMaker has no action {form.get('Action')} of STS.")
        role = re.fullmatch(r"arn:aws(?:-us-gov)?:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)", form.get("RoleArn", ""))
        session = form.get("RoleSessionName", "")
        duration = form.get("DurationSeconds", "3600")
        if role is None or not re.fullmatch(r"[\w+=,.@-]{2,64}", session):
            raise AwsError("ValidationError", "RoleArn or RoleSessionName is not valid.")
        if not (duration.isdecimal() and 900 <= int(duration) <= 43200):
            raise AwsError("ValidationError", "Got an invalid DurationSeconds, expected 900 to 43200.")
        principal = f"arn:aws:sts::{role[1]}:assumed-role/{role[2]}/{session}"
        credential = self._credentials.issue(min(int(duration), self._credentials.lifetime), principal)
        fields = {
            "AccessKeyId": credential.access_key,
            "SecretAccessKey": credential.secret_key,
            "SessionToken": credential.token,
            "Expiration": credential.expiration,
        }
        elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
        return web.Response(
            content_type="text/xml",
            text='<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
            f"<AssumedRoleUser><Arn>{escape(principal)}</Arn><AssumedRoleId>AROALOCAL:{escape(session)}"
            f"</AssumedRoleId></AssumedRoleUser><Credentials>{elements}</Credentials></AssumeRoleResult>"
            f"<ResponseMetadata><RequestId>{new_request_id()}</RequestId></ResponseMetadata></AssumeRoleResponse>",
        )


def _validated(operation: str, body: bytes) -> dict[str, Any]:
    """The operation's parameters. AwsError (ValidationException) when they violate SageMaker's model."""
    try:
        parsed: object = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise AwsError("SerializationException", "The body is not a JSON object.")
    values = cast("dict[str, Any]", parsed)
    fields = OPERATIONS[operation]
    problems = [f"Unknown parameter '{name}'" for name in values if name not in fields]
    for name, field in fields.items():
        if name not in values:
            problems += [f"Missing parameter '{name}'"] * field.required
            continue
        value = values[name]
        if type(value) is not field.kind:
            problems.append(f"'{name}' is not of type {field.kind.__name__}")
        elif not field.low <= (value if field.kind is int else len(value)) <= field.high:
            problems.append(f"Value '{value}' at '{name}' is not within {field.low} to {field.high}")
        elif field.pattern and not re.fullmatch(field.pattern, value):
            problems.append(f"Value '{value}' at '{name}' does not match {field.pattern}")
    if problems:
        raise AwsError("ValidationException", f"{len(problems)} validation errors: {'; '.join(problems)}")
    return values
