"""SigV4 signatures, compared with AWS's published test vectors and with botocore.

botocore signs a URL without normalizing it, so it gets the URL that the proxy sends: SageMaker accepts the request if
both signatures are the same.
"""

import datetime
import re
import string
from hashlib import sha256

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from hypothesis import assume, example, given
from hypothesis import strategies as st

from proxy_app.routing import InvalidPathError
from proxy_app.sigv4 import (
    EMPTY_SHA256,
    Credentials,
    amz_time,
    authorization,
    canonical_path,
    canonical_request,
    encoded_query,
    signed_headers,
)
from tests.doubles.routes import match_route
from tests.proxy_app import aws_vectors
from tests.proxy_app.url_strategies import PATHS, QUERIES

# The proxy rejects these paths, which servers parse differently, so it never signs them.
REJECTED = {
    "get-relative": "dot segments",
    "get-relative-relative": "dot segments",
    "get-slash": "an empty segment",
    "get-slash-dot-slash": "a dot segment",
    "get-slash-pointless-dot": "a dot segment",
    "get-slashes": "empty segments",
}
# The signature in the .sreq file of this vector differs from its .authz file, which is correct (as in botocore).
WRONG_SIGNED_REQUEST = {"get-vanilla-with-session-token"}

NOON = 1_792_670_400.0  # 2026-10-22T12:00:00Z
KEYS = Credentials("AKIDEXAMPLE", "secret", "token")
HOST = "eu-west-1.experiments.sagemaker.aws"
ARN_HEADER = ("x-mlflow-sm-tracking-server-arn", "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/team")


# --- AWS's vectors


def test_all_vectors_are_tested() -> None:
    names = aws_vectors.names()
    assert len(names) == 34
    assert set(names) > set(REJECTED)


@pytest.mark.parametrize("name", [name for name in aws_vectors.names() if name not in REJECTED])
def test_signature_equals_the_vectors(name: str) -> None:
    vector = aws_vectors.read(name)
    payload = sha256(vector.body).hexdigest()
    query = encoded_query(vector.query)
    canonical, _ = canonical_request(vector.method, vector.path, query, vector.headers, payload)
    assert canonical == vector.canonical_request
    assert vector.string_to_sign.endswith(sha256(canonical.encode()).hexdigest())
    value = authorization(
        vector.method,
        vector.path,
        query,
        vector.headers,
        payload,
        credentials=Credentials(aws_vectors.ACCESS_KEY, aws_vectors.SECRET_KEY),
        region=aws_vectors.REGION,
        service=aws_vectors.SERVICE,
        amz_date=aws_vectors.AMZ_DATE,
    )
    assert value == vector.authorization
    assert (f"Authorization: {value}" in vector.signed_request) == (name not in WRONG_SIGNED_REQUEST)


@pytest.mark.parametrize("name", REJECTED)
def test_path_that_needs_normalization_is_rejected(name: str) -> None:
    vector = aws_vectors.read(name)
    with pytest.raises(InvalidPathError, match="segment"):
        match_route(vector.method, vector.path)


# --- Comparison with botocore


def sign(
    method: str = "GET",
    path: str = "/api/2.0/mlflow/runs/get",
    query: str = "run_id=1",
    *,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    credentials: Credentials = KEYS,
    service: str = "sagemaker-mlflow",
    now: float = NOON,
    double_encode_path: bool = True,
) -> list[tuple[str, str]]:
    """The headers of a signed request as the proxy sends it."""
    signed = [("host", HOST), ARN_HEADER, *headers]
    payload = sha256(body).hexdigest()
    added = signed_headers(
        method,
        path,
        query,
        signed,
        payload,
        credentials=credentials,
        region="eu-west-1",
        service=service,
        now=now,
        double_encode_path=double_encode_path,
    )
    return [*signed, *added]


def botocore_authorization(
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    *,
    secret: str = "secret",
    service: str = "sagemaker-mlflow",
    signer: type[SigV4Auth] = SigV4Auth,
) -> str:
    """botocore's Authorization header for a request as sent."""
    sent = dict(headers)
    auth = signer(Keys(sent["authorization"].split("Credential=")[1].split("/")[0], secret), service, "eu-west-1")
    request = AWSRequest(method=method, url=url)
    for name, value in headers:
        if name != "authorization":
            request.headers[name] = value
    request.context["timestamp"] = sent["x-amz-date"]
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    names = auth.signed_headers(auth.headers_to_sign(request))
    return (
        f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, "
        f"Signature={auth.signature(to_sign, request)}"
    )


def url_of(path: str, query: str) -> str:
    return f"https://{HOST}{path}?{query}" if query else f"https://{HOST}{path}"


SECRETS = st.text(string.ascii_letters + string.digits + "/+", min_size=1, max_size=40)
CONTENT_TYPES = st.sampled_from(
    ["application/json", "application/json; charset=utf-8", "multipart/form-data;  boundary=a  b", "text/plain;\tx=y"]
)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    raw_path=PATHS,
    raw_query=QUERIES,
    body=st.binary(max_size=64),
    content_type=st.none() | CONTENT_TYPES,
    token=st.just("") | st.text(string.ascii_letters + "/+=", min_size=1),
    secret=SECRETS,
    service=st.sampled_from(["sagemaker", "sagemaker-mlflow"]),
    now=st.integers(0, 4_102_444_800),
)
def test_signature_equals_botocores_for_the_url_that_is_sent(
    method: str,
    raw_path: str,
    raw_query: str,
    body: bytes,
    content_type: str | None,
    token: str,
    secret: str,
    service: str,
    now: int,
) -> None:
    path, query = canonical_path(raw_path), encoded_query(raw_query)
    headers = sign(
        method,
        path,
        query,
        body=body,
        headers=(("content-type", content_type),) if content_type else (),
        credentials=Credentials("AKIDEXAMPLE", secret, token),
        service=service,
        now=now,
    )
    sent = dict(headers)
    assert (
        botocore_authorization(method, url_of(path, query), headers, secret=secret, service=service)
        == sent["authorization"]
    )
    assert sent["x-amz-content-sha256"] == sha256(body).hexdigest()
    assert sent.get("x-amz-security-token", "") == token


@given(raw_path=PATHS, raw_query=QUERIES)
@example(raw_path="/bucket/a b/100%25.txt", raw_query="")
def test_signature_equals_botocores_for_s3_without_double_encoding(raw_path: str, raw_query: str) -> None:
    path, query = canonical_path(raw_path), encoded_query(raw_query)
    headers = sign("GET", path, query, service="s3", double_encode_path=False)
    assert (
        botocore_authorization("GET", url_of(path, query), headers, service="s3", signer=S3SigV4Auth)
        == dict(headers)["authorization"]
    )


def test_double_encoding_changes_the_signature_of_an_encoded_path() -> None:
    once, twice = (sign(path="/bucket/a%20b", double_encode_path=double) for double in (False, True))
    assert dict(once)["authorization"] != dict(twice)["authorization"]


def test_headers_equal_those_of_a_request_signed_by_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime.datetime.fromtimestamp(NOON, datetime.UTC)

    def frozen() -> datetime.datetime:
        return noon

    monkeypatch.setattr(botocore.auth, "get_current_datetime", frozen)
    body = b'{"run_id": "1"}'
    path, query = canonical_path("/api/2.0/mlflow/runs/it's+é"), encoded_query("b=a b&a=1")
    unsigned: dict[str, str] = dict([("host", HOST), ARN_HEADER, ("X-Amz-Content-SHA256", sha256(body).hexdigest())])
    request = AWSRequest(method="POST", url=url_of(path, query), data=body, headers=unsigned)
    SigV4Auth(Keys("AKIDEXAMPLE", "secret", "token"), "sagemaker-mlflow", "eu-west-1").add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert dict(sign("POST", path, query, body=body)) == expected


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("method", "PUT"),
        ("path", "/api/2.0/mlflow/runs/delete"),
        ("query", "run_id=2"),
        ("query", ""),
        ("x-amz-content-sha256", sha256(b"{}").hexdigest()),
        ("x-amz-date", "20261022T120001Z"),
        ("x-amz-security-token", "another"),
        ("content-type", "text/plain"),
        ("host", "us-east-1.experiments.sagemaker.aws"),
        (ARN_HEADER[0], f"{ARN_HEADER[1]}-other"),
    ],
)
def test_signature_depends_on_every_signed_part(part: str, changed: str) -> None:
    request = {"method": "POST", "path": "/api/2.0/mlflow/runs/get", "query": "run_id=1"}
    headers = sign(request["method"], request["path"], request["query"], headers=(("content-type", "a/b"),))
    signature = dict(headers)["authorization"]

    def signature_of(request: dict[str, str], headers: list[tuple[str, str]]) -> str:
        return botocore_authorization(request["method"], url_of(request["path"], request["query"]), headers)

    assert signature_of(request, headers) == signature
    assert part in {*request, *dict(headers)}
    changed_headers = [(name, changed if name == part else value) for name, value in headers]
    assert signature_of({**request, part: changed}, changed_headers) != signature


# botocore does not encode queries, and AWS's plugin sends a raw + or ' for some methods.
@pytest.mark.parametrize("raw", ["a+b", "it's", "a/b", "a:b", "a%2fb"])
def test_signature_differs_from_botocores_for_the_unencoded_url(raw: str) -> None:
    headers = sign(query=encoded_query(f"name={raw}"))
    unencoded = botocore_authorization("GET", url_of("/api/2.0/mlflow/runs/get", f"name={raw}"), headers)
    assert unencoded != dict(headers)["authorization"]


# --- Headers, time and credentials


def test_signed_headers_are_those_given_and_the_amz_headers() -> None:
    sent = dict(sign(headers=(("content-type", "a/b"),)))
    names = re.search("SignedHeaders=([^,]+)", sent["authorization"])
    assert names is not None
    assert names[1].split(";") == sorted(set(sent) - {"authorization"})


def test_credentials_without_a_session_token_send_no_security_token_header() -> None:
    assert "x-amz-security-token" not in dict(sign(credentials=Credentials("AKIDEXAMPLE", "secret")))


def test_empty_body_has_the_sha256_of_no_bytes() -> None:
    assert dict(sign())["x-amz-content-sha256"] == EMPTY_SHA256 == sha256(b"").hexdigest()


def test_header_that_is_not_utf8_is_signed_as_sent() -> None:
    # A client's Content-Type may hold any byte; aiohttp decodes bytes that are not UTF-8 to surrogates.
    value = b"text/plain; name=\xff".decode("utf-8", "surrogateescape")
    headers = sign(headers=(("content-type", value),))
    signed = sorted((name, text) for name, text in headers if name != "authorization")
    canonical, _ = canonical_request("GET", "/api/2.0/mlflow/runs/get", "run_id=1", signed, EMPTY_SHA256)
    hashed = sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    auth = SigV4Auth(Keys("AKIDEXAMPLE", "secret"), "sagemaker-mlflow", "eu-west-1")
    request = AWSRequest()
    request.context["timestamp"] = date = dict(headers)["x-amz-date"]
    to_sign = f"AWS4-HMAC-SHA256\n{date}\n{auth.credential_scope(request)}\n{hashed}"
    assert dict(headers)["authorization"].endswith(f"Signature={auth.signature(to_sign, request)}")


def test_time_is_truncated_to_seconds() -> None:
    assert amz_time(int(NOON)) == "20261022T120000Z"
    assert sign(now=NOON) == sign(now=NOON + 0.999)
    assert sign(now=NOON) != sign(now=NOON + 1)


def test_signing_key_changes_with_the_date() -> None:
    midnight = NOON + 12 * 3600
    for now, day in ((midnight - 1, "20261022"), (midnight, "20261023"), (midnight - 1, "20261022")):
        headers = sign(now=now)
        signature = dict(headers)["authorization"]
        assert f"AKIDEXAMPLE/{day}/eu-west-1/sagemaker-mlflow/aws4_request" in signature
        assert botocore_authorization("GET", url_of("/api/2.0/mlflow/runs/get", "run_id=1"), headers) == signature


@given(first=SECRETS, second=SECRETS)
def test_changed_credentials_change_the_signature(first: str, second: str) -> None:
    assume(first != second)
    signatures = [sign(credentials=Credentials("AKIDEXAMPLE", secret)) for secret in (first, second, first)]
    assert signatures[0] == signatures[2] != signatures[1]


def test_repr_of_credentials_contains_no_secret() -> None:
    keys = Credentials("AKIDEXAMPLE", "the-secret-key", "the-session-token")
    for text in (repr(keys), str(keys), f"{[keys]}"):
        assert "AKIDEXAMPLE" in text
        assert "the-secret-key" not in text
        assert "the-session-token" not in text
