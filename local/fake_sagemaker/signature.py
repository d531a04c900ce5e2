"""Verifies Signature Version 4 with botocore's implementation."""

import datetime
import hmac
import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as Keys

from local.fake_sagemaker.credentials import Credential, Credentials
from local.fake_sagemaker.errors import SIGNATURE_MISMATCH, AwsError
from local.fake_sagemaker.http_message import ReceivedRequest, canonical_path, canonical_query

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, *"
    r"SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})"
)
_SKEW = 300.0
# Intermediaries may change these, so SageMaker removes them before verification (sagemaker_mlflow's auth.py).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class _OnlySigned(SigV4Auth):
    """botocore selects the headers to sign; a service uses those that the client signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


def verify_signature(
    request: ReceivedRequest,
    credentials: Credentials,
    *,
    service: str,
    region: str,
    now: float,
    must_sign: frozenset[str] = frozenset(),
) -> Credential:
    """The credentials that signed the request. AwsError when AWS would reject the signature.

    `must_sign`: headers, in lower case, that must be sent and signed in addition to host and every x-amz-*.
    """
    authorization = request.headers.getall("Authorization", [])
    if len(authorization) != 1:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(authorization[0].strip())
    if match is None:
        raise AwsError(
            "IncompleteSignatureException",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
            "parameter. Authorization header requires 'SignedHeaders' parameter.",
        )
    access_key, scope_date, scope_region, scope_service, signed_list, signature = match.groups()
    signed = signed_list.split(";")
    _check_signed_headers(request, signed, must_sign)
    timestamp = request.header("X-Amz-Date")
    _check_scope(timestamp, scope_date, scope_region, scope_service, region, service)
    token = request.header("X-Amz-Security-Token")
    credential = credentials.find(access_key, token)
    _check_clock(timestamp, now)
    _check_hash(request)

    auth = _OnlySigned(Keys(access_key, credential.secret_key, token), service, region)
    aws_request = _to_botocore_request(request, signed, timestamp)
    canonical = auth.canonical_request(aws_request)
    expected = auth.signature(auth.string_to_sign(aws_request, canonical), aws_request)
    if not hmac.compare_digest(expected, signature):
        raise AwsError(
            "InvalidSignatureException", SIGNATURE_MISMATCH, detail=f"expected the canonical request {canonical!r}"
        )
    return credential


def _check_signed_headers(request: ReceivedRequest, signed: list[str], must_sign: frozenset[str]) -> None:
    if signed != sorted(set(signed)):
        raise AwsError("InvalidSignatureException", "SignedHeaders must be sorted and unique.")
    for name in signed:
        if name != name.lower() or name not in request.headers:
            raise AwsError("InvalidSignatureException", f"'{name}' is signed but was not sent.")
        if name in _HOP_BY_HOP:
            raise AwsError(
                "InvalidSignatureException",
                f"{SIGNATURE_MISMATCH} ('{name}' is removed before verification and must not be signed.)",
            )
    sent = {name.lower() for name in request.headers}
    required = {"host"} | must_sign | {name for name in sent if name.startswith("x-amz-")}
    if missing := sorted(required - set(signed)):
        raise AwsError(
            "InvalidSignatureException",
            f"{', '.join(repr(name) for name in missing)} must be a 'SignedHeader' in the AWS Authorization.",
        )


def _check_scope(
    timestamp: str, date: str, region: str, service: str, expected_region: str, expected_service: str
) -> None:
    if region != expected_region:
        raise AwsError("InvalidSignatureException", f"Credential should be scoped to a valid region, not '{region}'.")
    if service != expected_service:
        raise AwsError(
            "InvalidSignatureException", f"Credential should be scoped to correct service: '{expected_service}'."
        )
    if not timestamp.startswith(date):
        raise AwsError(
            "InvalidSignatureException",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'.",
        )


def _check_clock(timestamp: str, now: float) -> None:
    try:
        signed_at = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        raise AwsError(
            "IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'."
        ) from None
    if abs(now - signed_at) > _SKEW:
        server_time = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        what = "Signature expired" if signed_at < now else "Signature not yet current"
        raise AwsError("InvalidSignatureException", f"{what}: {timestamp} is more than 5 min. away from {server_time}.")


def _check_hash(request: ReceivedRequest) -> None:
    if "X-Amz-Content-SHA256" in request.headers and request.header("X-Amz-Content-SHA256") != request.body_hash:
        raise AwsError(
            "InvalidSignatureException",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )


def _to_botocore_request(request: ReceivedRequest, signed: list[str], timestamp: str) -> AWSRequest:
    """The request for botocore, with the canonical query, since botocore does not canonicalize a query in the URL."""
    url = f"https://{request.header('Host')}{canonical_path(request.path)}"
    if query := canonical_query(request.query):
        url += f"?{query}"
    aws_request = AWSRequest(method=request.method, url=url, data=request.body)
    for name in signed:
        for value in request.headers.getall(name):
            if not value.isascii():
                raise AwsError("InvalidSignatureException", f"The header {name} is not ASCII.")
            aws_request.headers[name] = value  # appends
    aws_request.context["timestamp"] = timestamp
    return aws_request
