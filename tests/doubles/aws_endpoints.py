"""Fakes of the endpoints that AWS's credential chain uses, in threads, because botocore blocks.

    with serving(ContainerEndpoint()) as endpoint: ...  # endpoint.url

Each accepts the documented requests only, and records all requests in `requests`.
"""

import contextlib
import json
import threading
import time
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs, urlsplit

SECRET, TOKEN = "the-secret-key", "the-session-token"


class ReceivedRequest(NamedTuple):
    """A request; `headers` by their lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class EndpointResponse(NamedTuple):
    status: int
    body: str = ""
    content_type: str = "application/json"


class Endpoint:
    """An endpoint; `serving` sets its `url`."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[ReceivedRequest] = []

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        raise NotImplementedError


_Any = TypeVar("_Any", bound=Endpoint)


@contextlib.contextmanager
def serving(endpoint: _Any) -> Generator[_Any]:
    """Serve the endpoint on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = ReceivedRequest(self.command, self.path, headers, body)
            endpoint.requests.append(received)
            response = endpoint.response(received)
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body.encode())))
            self.end_headers()
            self.wfile.write(response.body.encode())

        do_GET = do_PUT = do_POST = handle_any  # noqa: N815 - as the base class calls them

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
        # The default poll interval of 0.5 s would delay each shutdown.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()


def keys(access_key: str = "AKIDDOUBLE", lifetime: float = 3600) -> dict[str, str]:
    """Credentials in the format of the container endpoint and of the instance metadata service."""
    expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime))
    return {"AccessKeyId": access_key, "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": expiration}


class ContainerEndpoint(Endpoint):
    """The container credentials endpoint with an authorization token, as with EKS Pod Identity.

    `body` and `status` replace those of the response.
    """

    def __init__(self, body: str = "", status: int = 200) -> None:
        super().__init__()
        self._body = body
        self._status = status

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        if (received.method, received.target) != ("GET", "/credentials"):
            return EndpointResponse(404)
        if received.headers.get("authorization") != "task-token":
            return EndpointResponse(401, "no token")
        return EndpointResponse(self._status, self._body or json.dumps(keys()))


class TaskEndpoint(Endpoint):
    """The ECS agent's credentials endpoint: the task's path is the only authentication; each response has new keys."""

    PATH = "/v2/credentials/0b1d2a3c-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        if (received.method, received.target) != ("GET", self.PATH) or "authorization" in received.headers:
            return EndpointResponse(400, json.dumps({"code": "InvalidIdInRequest", "HTTPErrorCode": 400}))
        role = {"RoleArn": "arn:aws:iam::123456789012:role/mlflow-proxy"}
        return EndpointResponse(200, json.dumps({**role, **keys(f"ASIATASK{len(self.requests)}", lifetime=6 * 3600)}))


class InstanceMetadata(Endpoint):
    """The instance metadata service, version 2 only: requests without a session token get 401."""

    _ROLE = "/latest/meta-data/iam/security-credentials/"

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        if received.target == "/latest/api/token":
            if (
                received.method != "PUT"
                or not received.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdecimal()
            ):
                return EndpointResponse(400)
            return EndpointResponse(200, "imds-session", "text/plain")
        if received.headers.get("x-aws-ec2-metadata-token") != "imds-session":
            return EndpointResponse(401)
        if (received.method, received.target) == ("GET", self._ROLE):
            return EndpointResponse(200, "proxy-role", "text/plain")
        if (received.method, received.target) == ("GET", self._ROLE + "proxy-role"):
            return EndpointResponse(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **keys()}))
        return EndpointResponse(404)


class SsoPortal(Endpoint):
    """GetRoleCredentials of IAM Identity Center, for a single account and role."""

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        parts = urlsplit(received.target)
        if (received.method, parts.path) != ("GET", "/federation/credentials"):
            return EndpointResponse(404, "{}")
        if received.headers.get("x-amz-sso_bearer_token") != "sso-token":
            return EndpointResponse(401, json.dumps({"message": "Session token not found or invalid"}))
        if parse_qs(parts.query) != {"role_name": ["MLflow"], "account_id": ["123456789012"]}:
            return EndpointResponse(403, json.dumps({"message": "No access"}))
        role = {
            "accessKeyId": keys()["AccessKeyId"],
            "secretAccessKey": SECRET,
            "sessionToken": TOKEN,
            "expiration": int((time.time() + 3600) * 1000),
        }
        return EndpointResponse(200, json.dumps({"roleCredentials": role}))


class StsDenyingAccess(Endpoint):
    """STS without permission to assume a role."""

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        text = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: sts:AssumeRole"
        return EndpointResponse(
            403,
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
            f"<Code>AccessDenied</Code><Message>{text}</Message></Error><RequestId>1</RequestId></ErrorResponse>",
            "text/xml",
        )


class ContestedSecret(Endpoint):
    """Secrets Manager with a single secret, which another client overwrites with `other_value` after each write.

    Without `other_value`, the secret is not overwritten.
    """

    def __init__(self, other_value: str) -> None:
        super().__init__()
        self.value = '{"tokens": []}'
        self._other_value = other_value

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        arguments: dict[str, str] = json.loads(received.body)
        description = {"ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-abcdef", "Name": "s"}
        match received.headers.get("x-amz-target", "").removeprefix("secretsmanager."):
            case "DescribeSecret":
                return EndpointResponse(
                    200, json.dumps({**description, "VersionIdsToStages": {"1" * 32: ["AWSCURRENT"]}})
                )
            case "GetSecretValue":
                return EndpointResponse(200, json.dumps({**description, "SecretString": self.value}))
            case "PutSecretValue":
                self.value = self._other_value or arguments["SecretString"]
                return EndpointResponse(200, json.dumps({**description, "VersionId": "2" * 32}))
            case _:
                return EndpointResponse(400, json.dumps({"__type": "InvalidAction"}))
