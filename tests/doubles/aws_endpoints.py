"""Small strict doubles of the endpoints that AWS's credential chain asks, on threads: who asks them may block.

    with serving(ContainerEndpoint()) as endpoint: ...  # endpoint.url

Each answers what AWS documents, refuses everything else, and keeps what it was asked in `seen`.
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
    """A request; `headers` by their names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class EndpointResponse(NamedTuple):
    status: int
    body: str = ""
    kind: str = "application/json"


class Endpoint:
    """What answers; `url` is where, once it is served."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[ReceivedRequest] = []

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        raise NotImplementedError


_Any = TypeVar("_Any", bound=Endpoint)


@contextlib.contextmanager
def serving(endpoint: _Any) -> Generator[_Any]:
    """The endpoint answers in this block, on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = ReceivedRequest(self.command, self.path, headers, body)
            endpoint.seen.append(received)
            response = endpoint.response(received)
            self.send_response(response.status)
            self.send_header("Content-Type", response.kind)
            self.send_header("Content-Length", str(len(response.body.encode())))
            self.end_headers()
            self.wfile.write(response.body.encode())

        do_GET = do_PUT = do_POST = handle_any  # noqa: N815 - the names that the base class asks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
        # The usual half a second between looks at its end would be most of a test's time.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()


def keys(name: str = "AKIDDOUBLE", life: float = 3600) -> dict[str, str]:
    """Credentials as the container and the instance endpoint give them."""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + life))
    return {"AccessKeyId": name, "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": end}


class ContainerEndpoint(Endpoint):
    """ECS and EKS Pod Identity: one GET, with the token that the task was given."""

    def __init__(self, said: str = "", status: int = 200) -> None:
        super().__init__()
        self._said = said
        self._status = status

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        if (received.method, received.target) != ("GET", "/credentials"):
            return EndpointResponse(404)
        if received.headers.get("authorization") != "task-token":
            return EndpointResponse(401, "no token")
        return EndpointResponse(self._status, self._said or json.dumps(keys()))


class TaskEndpoint(Endpoint):
    """ECS's agent on EC2: one GET of the task's own path, which is all that proves who asks; new keys each time."""

    PATH = "/v2/credentials/0b1d2a3c-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        if (received.method, received.target) != ("GET", self.PATH) or "authorization" in received.headers:
            return EndpointResponse(400, json.dumps({"code": "InvalidIdInRequest", "HTTPErrorCode": 400}))
        role = {"RoleArn": "arn:aws:iam::123456789012:role/mlflow-proxy"}
        return EndpointResponse(200, json.dumps({**role, **keys(f"ASIATASK{len(self.seen)}", life=6 * 3600)}))


class InstanceMetadata(Endpoint):
    """IMDSv2 alone: a session by PUT, and nothing without its token (a GET of the first version is a 401)."""

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
    """GetRoleCredentials of IAM Identity Center, for one account and role."""

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        parts = urlsplit(received.target)
        if (received.method, parts.path) != ("GET", "/federation/credentials"):
            return EndpointResponse(404, "{}")
        if received.headers.get("x-amz-sso_bearer_token") != "sso-token":
            return EndpointResponse(401, json.dumps({"message": "Session token not found or invalid"}))
        if parse_qs(parts.query) != {"role_name": ["MLflow"], "account_id": ["123456789012"]}:
            return EndpointResponse(403, json.dumps({"message": "No access"}))
        given = keys()
        role = {
            "accessKeyId": given["AccessKeyId"],
            "secretAccessKey": SECRET,
            "sessionToken": TOKEN,
            "expiration": int((time.time() + 3600) * 1000),
        }
        return EndpointResponse(200, json.dumps({"roleCredentials": role}))


class StsRefusing(Endpoint):
    """STS that lets nobody assume a role."""

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        text = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: sts:AssumeRole"
        return EndpointResponse(
            403,
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
            f"<Code>AccessDenied</Code><Message>{text}</Message></Error><RequestId>1</RequestId></ErrorResponse>",
            "text/xml",
        )


class ContestedSecret(Endpoint):
    """Secrets Manager with one secret, to which somebody else writes `theirs` right after each write of ours."""

    def __init__(self, theirs: str) -> None:
        super().__init__()
        self.value = '{"tokens": []}'
        self._theirs = theirs

    def response(self, received: ReceivedRequest) -> EndpointResponse:
        call: dict[str, str] = json.loads(received.body)
        described = {"ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-abcdef", "Name": "s"}
        match received.headers.get("x-amz-target", "").removeprefix("secretsmanager."):
            case "DescribeSecret":
                return EndpointResponse(
                    200, json.dumps({**described, "VersionIdsToStages": {"1" * 32: ["AWSCURRENT"]}})
                )
            case "GetSecretValue":
                return EndpointResponse(200, json.dumps({**described, "SecretString": self.value}))
            case "PutSecretValue":
                self.value = self._theirs or call["SecretString"]
                return EndpointResponse(200, json.dumps({**described, "VersionId": "2" * 32}))
            case _:
                return EndpointResponse(400, json.dumps({"__type": "InvalidAction"}))
