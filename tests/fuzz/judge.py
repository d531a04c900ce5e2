"""What may arrive behind the proxy: strict upstreams that check each request, and collect what is wrong."""

import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, unquote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as Keys
from multidict import CIMultiDict, CIMultiDictProxy

from local.fake_sagemaker.credentials import Credential, Credentials
from local.fake_sagemaker.errors import AwsError
from local.fake_sagemaker.http_message import ReceivedRequest
from local.fake_sagemaker.request_checks import check_target_arn, reject_client_headers
from local.fake_sagemaker.signature import verify_signature
from local.fake_sagemaker.target import Target
from proxy_app.auth import Role
from proxy_app.routing import MLFLOW_ROUTES, UI_ROUTES, Route
from proxy_app.routing.mlflow_routes import REMOVED_ROUTES
from tests.doubles.fake_upstreams import UpstreamConnection, response_with_length
from tests.doubles.mlflow_routing import Servers
from tests.doubles.routes import match_route
from tests.doubles.running_proxy import ARN

from .messages import BUCKET, PREFIX

_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\0\r\n]*)")
_S3_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/(\d{8})/([a-z0-9-]+)/s3/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)
_ROUTES = {(route.method, route.template): route for route in MLFLOW_ROUTES}
_REMOVED = {(route.method, route.template) for route in REMOVED_ROUTES}
_READS = frozenset({"GET", "HEAD"})
# The readiness check of the proxy.
_PROBE = "/api/2.0/mlflow/experiments/get?experiment_id=0"


class Judge:
    """Checks requests that the proxy sends for clients of one role; None: without authentication.

    ``wrong`` are descriptions of what must not have been sent; ``seen`` counts requests by upstream.
    """

    def __init__(self, role: Role | None, servers: Servers, location: Callable[[], str]) -> None:
        self.role = role
        self.wrong: list[str] = []
        self.seen: Counter[str] = Counter()
        self.credentials = Credentials(account="123456789012", lifetime=86400, clock=time.time)
        self.credential: Credential = self.credentials.issue(86400)
        self._servers = servers
        self._location = location
        self._target = Target.parse(ARN)

    def upstream(
        self, name: str, check: Callable[[ReceivedRequest, int], None], answer: Callable[[ReceivedRequest], bytes]
    ) -> Callable[[UpstreamConnection], Awaitable[None]]:
        """The behaviour of an upstream that reads HTTP strictly, checks each request, and answers it."""

        async def behave(connection: UpstreamConnection) -> None:
            while True:
                try:
                    received = await _read(connection)
                except ValueError as error:
                    self.wrong.append(f"{name}: not framed as HTTP/1.1: {error}")
                    return
                self.seen[name] += 1
                try:
                    check(received, connection.fake_upstream.port)
                except (AwsError, ValueError) as error:
                    self.wrong.append(f"{name}: {error!r}: {received.method} {received.target!r} {received.headers!r}")
                await connection.send(answer(received))

        return behave

    def check_sagemaker(self, request: ReceivedRequest, port: int) -> None:
        """Raises AwsError or ValueError for a request that is unsigned, wrongly signed, leaks, or exceeds the role."""
        reject_client_headers(request, port)
        verify_signature(
            request,
            self.credentials,
            service=self._target.service,
            region=self._target.region,
            now=time.time(),
            must_sign=frozenset({self._target.header}),
        )
        check_target_arn(request, self._target, "fuzz")
        self._check_role(request)

    def check_ui(self, request: ReceivedRequest, _: int) -> None:
        """Raises ValueError for a request with credentials, of a route that the UI server lacks, or above the role."""
        if "Authorization" in request.headers:
            raise ValueError("credentials were forwarded")
        if not {(route.method, route.template) for route in self._check_role(request)} <= UI_ROUTES:
            raise ValueError("not a route of the UI server")

    def check_s3(self, request: ReceivedRequest, _: int) -> None:
        """Raises ValueError for a request that is unsigned, wrongly signed, outside the root, or exceeds the role."""
        _verify_s3(request, self.credential)
        path = unquote(request.path, errors="strict")
        key = path.removeprefix(f"/{BUCKET}").removeprefix("/")
        if key:
            names = [key]
        else:
            names = [value for name, value in parse_qsl(request.query, keep_blank_values=True) if name == "prefix"]
            if not names:
                raise ValueError("the bucket itself, without a prefix")
        for name in names:
            if path.split("/")[1] != BUCKET or not name.startswith(f"{PREFIX}/"):
                raise ValueError(f"outside of the root: {name!r}")
            if {".", ".."} & set(re.split(r"[/\\]", name)):
                raise ValueError(f"dots: {name!r}")
        required = Role.VIEWER if request.method in _READS else Role.EDITOR
        if request.method == "DELETE" and "uploadId=" not in request.query:
            required = Role.ADMIN
        if self.role is None or self.role < required:
            raise ValueError(f"requires {required.label}")

    def answer_mlflow(self, request: ReceivedRequest) -> bytes:
        """JSON with a location at each place where one may be."""
        location = self._location()
        info = {"artifact_uri": location, "experiment_id": "1", "run_id": "r"}
        tags = {"mlflow.artifactLocation": location}
        content = {
            "run": {"info": info},
            "model": {"info": info},
            "artifact_uri": location,
            "trace": {"trace_info": {"tags": tags}},
            "experiments": [{"artifact_location": location}],
            "root_uri": location,
        }
        return _json(request, content)

    def answer_s3(self, request: ReceivedRequest) -> bytes:
        """An object, or an empty list of objects."""
        if request.path.strip("/") == BUCKET and request.method == "GET":
            body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        elif "uploads" in request.query:
            body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        elif request.method == "POST":
            body = b"<CompleteMultipartUploadResult/>"
        else:
            body = b"content"
        return _without_body(request, response_with_length(body, b'ETag: "e"'))

    def _check_role(self, request: ReceivedRequest) -> list[Route]:
        if request.target == _PROBE:
            return []
        method = "GET" if request.method == "HEAD" else request.method
        # SageMaker has the routes of MLflow's page below /api/.
        for path in (request.path, f"/ajax-{request.path[1:]}"):
            found = self._servers.find(method, unquote(path, errors="strict"))
            routes = [_ROUTES[method, name] for name in found if (method, name) in _ROUTES]
            removed = match_route(method, path)
            if removed is not None and (removed.method, removed.template) in _REMOVED:
                routes.append(removed)
            if routes:
                break
        else:
            raise ValueError("no route of the table")
        if self.role is None or any(route.role > self.role for route in routes):
            raise ValueError(f"requires {max(route.role for route in routes).label}")
        return routes


async def _read(connection: UpstreamConnection) -> ReceivedRequest:
    """The next request. ValueError if a strict server does not read it as HTTP/1.1; IncompleteReadError at the end."""
    head = await connection.reader.readuntil(b"\r\n\r\n")
    line, *lines = head[:-4].split(b"\r\n")
    if not (start := _LINE.fullmatch(line)):
        raise ValueError(repr(line))
    headers = CIMultiDict[str]()
    for field in lines:
        if not (pair := _HEADER.fullmatch(field)):
            raise ValueError(repr(field))
        headers.add(pair[1].decode(), pair[2].decode("utf-8", "surrogateescape"))
    for name in ("Host", "Content-Length", "Transfer-Encoding"):
        if len(headers.getall(name, [])) > 1:
            raise ValueError(f"{name} twice")
    if "Transfer-Encoding" in headers:
        if "Content-Length" in headers or headers["Transfer-Encoding"] != "chunked":
            raise ValueError("two framings")
        body = b"".join([chunk async for chunk in connection.chunks()])
    else:
        body = await connection.reader.readexactly(int(headers.get("Content-Length", "0")))
    return ReceivedRequest(start[1].decode(), start[2].decode(), CIMultiDictProxy(headers), body)


def _verify_s3(request: ReceivedRequest, credential: Credential) -> None:
    """ValueError unless the request is signed for S3 with these credentials, by botocore's implementation."""
    found = _S3_AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        raise ValueError("unsigned")
    access_key, _, region, signed, signature = found.groups()
    sent = {name.lower() for name in request.headers}
    if access_key != credential.access_key or not {
        "host",
        *(name for name in sent if name.startswith("x-amz-")),
    } <= set(signed.split(";")):
        raise ValueError("a header is not signed")
    payload = request.headers["X-Amz-Content-SHA256"]
    if payload not in {request.body_hash, "UNSIGNED-PAYLOAD"}:
        raise ValueError("another body was signed")
    aws_request = AWSRequest(request.method, f"http://{request.headers['Host']}{request.target}")
    aws_request.headers = HTTPHeaders()
    for name in signed.split(";"):
        aws_request.headers[name] = request.headers[name]
    aws_request.context["timestamp"] = request.headers["X-Amz-Date"]
    auth = _OnlySigned(Keys(access_key, credential.secret_key, credential.token), "s3", region)
    canonical = auth.canonical_request(aws_request)
    if auth.signature(auth.string_to_sign(aws_request, canonical), aws_request) != signature:
        raise ValueError(f"wrong signature: {canonical!r}")


class _OnlySigned(S3SigV4Auth):
    """botocore selects the headers to sign; a service uses those that the client signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


def _json(request: ReceivedRequest, content: object) -> bytes:
    body = json.dumps(content).encode()
    return _without_body(request, response_with_length(body, b"Content-Type: application/json"))


def _without_body(request: ReceivedRequest, response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if request.method == "HEAD" else response
