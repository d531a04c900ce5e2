"""Signature Version 4 from the side of the service, with botocore's own arithmetic."""

import datetime
import hmac
import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as Keys

from local.fake_sagemaker.credentials import Credential, Credentials
from local.fake_sagemaker.refusals import MISMATCH, Refusal
from local.fake_sagemaker.wire import Received, canonical_path, canonical_query

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, *"
    r"SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})"
)
_SKEW = 300.0
# Proxies on the way may change these, so SageMaker takes them off before it checks (sagemaker_mlflow's auth.py).
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
    """botocore picks the headers to sign; a service takes those that the caller signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


def verify(
    request: Received,
    credentials: Credentials,
    *,
    service: str,
    region: str,
    now: float,
    must_sign: frozenset[str] = frozenset(),
) -> Credential:
    """Who signed this request. Refusal when AWS would not take the signature.

    `must_sign` are headers, in lower case, that have to be sent and signed besides host and every x-amz-*.
    """
    authorization = request.headers.getall("Authorization", [])
    if len(authorization) != 1:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(authorization[0].strip())
    if match is None:
        raise Refusal(
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
    aws_request = _as_botocore_has_it(request, signed, timestamp)
    canonical = auth.canonical_request(aws_request)
    expected = auth.signature(auth.string_to_sign(aws_request, canonical), aws_request)
    if not hmac.compare_digest(expected, signature):
        raise Refusal("InvalidSignatureException", MISMATCH, detail=f"expected the canonical request {canonical!r}")
    return credential


def _check_signed_headers(request: Received, signed: list[str], must_sign: frozenset[str]) -> None:
    if signed != sorted(set(signed)):
        raise Refusal("InvalidSignatureException", "SignedHeaders must be sorted, each header once.")
    for name in signed:
        if name != name.lower() or name not in request.headers:
            raise Refusal("InvalidSignatureException", f"'{name}' is signed and was not sent.")
        if name in _HOP_BY_HOP:
            raise Refusal(
                "InvalidSignatureException",
                f"{MISMATCH} ('{name}' is taken off before the signature is checked: do not sign it.)",
            )
    sent = {name.lower() for name in request.headers}
    required = {"host"} | must_sign | {name for name in sent if name.startswith("x-amz-")}
    if missing := sorted(required - set(signed)):
        raise Refusal(
            "InvalidSignatureException",
            f"{', '.join(repr(name) for name in missing)} must be a 'SignedHeader' in the AWS Authorization.",
        )


def _check_scope(timestamp: str, date: str, region: str, service: str, our_region: str, our_service: str) -> None:
    if region != our_region:
        raise Refusal("InvalidSignatureException", f"Credential should be scoped to a valid region, not '{region}'.")
    if service != our_service:
        raise Refusal("InvalidSignatureException", f"Credential should be scoped to correct service: '{our_service}'.")
    if not timestamp.startswith(date):
        raise Refusal(
            "InvalidSignatureException",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{timestamp[:8]}', from '{timestamp}'.",
        )


def _check_clock(timestamp: str, now: float) -> None:
    try:
        signed_at = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        raise Refusal(
            "IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'."
        ) from None
    if abs(now - signed_at) > _SKEW:
        ours = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        what = "Signature expired" if signed_at < now else "Signature not yet current"
        raise Refusal("InvalidSignatureException", f"{what}: {timestamp} is more than 5 min. away from {ours}.")


def _check_hash(request: Received) -> None:
    if "X-Amz-Content-SHA256" in request.headers and request.header("X-Amz-Content-SHA256") != request.body_hash:
        raise Refusal(
            "InvalidSignatureException",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )


def _as_botocore_has_it(request: Received, signed: list[str], timestamp: str) -> AWSRequest:
    """botocore takes a query as it is, so it is given the canonical one."""
    url = f"https://{request.header('Host')}{canonical_path(request.path)}"
    if query := canonical_query(request.query):
        url += f"?{query}"
    aws_request = AWSRequest(method=request.method, url=url, data=request.body)
    for name in signed:
        for value in request.headers.getall(name):
            if not value.isascii():
                raise Refusal("InvalidSignatureException", f"The header {name} is not ASCII.")
            aws_request.headers[name] = value  # adds, also when the name is there
    aws_request.context["timestamp"] = timestamp
    return aws_request
