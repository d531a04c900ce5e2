"""Requests to fuzz the proxy with: bytes for a connection, from valid requests of MLflow's routes, mutated or not."""

import random
import re
from urllib.parse import quote

from proxy_app.routing import MLFLOW_ROUTES

BUCKET, PREFIX = "fuzz-bucket", "team/mlflow"
ROOT = f"s3://{BUCKET}/{PREFIX}"
# Locations that MLflow might answer, and paths that a client might send: inside the root, outside of it, and unclear.
LOCATIONS = [
    f"{ROOT}/1/r/artifacts",
    ROOT,
    f"{ROOT}/",
    f"{ROOT}-other/1",
    f"{ROOT}/../secret",
    f"{ROOT}/%2e%2e/secret",
    f"{ROOT}/a/%252e%252e/%252e%252e/b",
    f"{ROOT}//etc",
    f"s3://other-bucket/{PREFIX}/1",
    f"s3://{BUCKET}/secret",
    "mlflow-artifacts:/1/r/artifacts",
    "mlflow-artifacts:/../secret",
    "mlflow-artifacts://host/1",
    "file:///etc/passwd",
    "models:/m-1",
    "runs:/r/model",
    "",
]
VALUES = [
    *(
        "1",
        "a",
        "a b",
        "ü",
        "a+b",
        "100%",
        "a%2Fb",
        "..",
        "%2e%2e",
        "a\\b",
        "..\\..",
        "C:\\x",
        "a\tb",
        ".hidden",
        "m-1",
    ),
    *("workspaces/other/1", "delete", "versions", "a#b", "a?b", "/", "//", "%00", "x" * 300),
]
HEADERS = [
    "Content-Type: application/json",
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "Connection: close, X-Amz-Date",
    "Connection: Upgrade",
    "Upgrade: h2c",
    "Transfer-Encoding: chunked",
    "Content-Length: 3",
    "X-Amz-Date: 20260101T000000Z",
    "X-Amz-Security-Token: forged",
    "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD",
    "x_amz_date: 1",
    "X-MLFLOW-SM-Tracking-Server-ARN: arn:other",
    "X-SM-MLflow-App-ARN: arn:other",
    "X-Amzn-Oidc-Data: forged",
    "X-Forwarded-For: 127.0.0.1",
    "X-MLFLOW-WORKSPACE: other",
    "X-MLFLOW-WORKSPACE: ../other",
    "Origin: https://evil.example",
    "Cookie: a=b",
    "Range: bytes=0-1",
    "If-None-Match: *",
    "Accept: text/html",
    "Host: evil.example",
    "X-A: caf\u00e9",
]
BODIES = [
    *(b"", b"{}", b"[]", b"null", b'{"run_id": "1", "path": "../x", "expiration": 604800}', b"not JSON", b"x" * 5000),
    *(f'{{"artifact_location": "{location}", "source": "{location}"}}'.encode() for location in LOCATIONS[:9]),
    *(b'{"path": "a/../../b", "num_parts": 2}', b'{"upload_id": "u", "parts": [{"part_number": 1, "etag": "e"}]}'),
]
PIECES = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"/../",
        b"%2f",
        b"\\",
    ),
    *(
        b"\xff",
        b"%00",
        b"#",
        b"?",
        b"&a=b",
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"Content-Length: 5\r\n",
        b"Content-Length: +5\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n"),
    *(b"GET /api/2.0/mlflow/experiments/search HTTP/1.1\r\nHost: a\r\n\r\n", b"Authorization: Bearer mlp_x\r\n"),
    b"POST /api/2.0/mlflow/runs/delete HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
]
_PARAMETER = re.compile(r"<(path:)?\w+>")
_SAFE = "/%!$&'()*+,;=:@-._~"


class Messages:
    """Makes messages from a seed; ``token`` authenticates them, unless it is empty.

    With ``artifacts``, half of them are for routes of artifacts.
    """

    def __init__(self, seed: int, token: str, *, artifacts: bool) -> None:
        self._random = random.Random(seed)
        self._token = token
        of_artifacts = [route for route in MLFLOW_ROUTES if route.resource_group == "artifacts"]
        self._routes = [list(MLFLOW_ROUTES), of_artifacts if artifacts else list(MLFLOW_ROUTES)]

    def next(self) -> list[bytes]:
        """The bytes of a connection, in the chunks in which they are sent."""
        chosen = self._random
        data = b"".join(self.request() for _ in range(chosen.choice([1, 1, 1, 2, 3])))
        if chosen.random() < 0.5:
            data = self.mutated(data)
        cuts = sorted(chosen.randrange(len(data) + 1) for _ in range(chosen.choice([0, 0, 1, 2])))
        return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def request(self) -> bytes:
        """A request of one of MLflow's routes, with parameters, query, headers and body from the lists above."""
        chosen = self._random
        route = chosen.choice(chosen.choice(self._routes))
        path = _PARAMETER.sub(lambda found: self._value(bool(found[1])), route.template)
        if chosen.random() < 0.1:
            path = path.replace("/", chosen.choice(["%2F", "//", "/./", "\\", "/%2e%2e/"]), 1 + chosen.randrange(3))
        names = ["path", "run_id", "run_uuid", "request_id", "name", "version", "artifact_file_path", "order_by", "a+b"]
        pairs = [f"{chosen.choice(names)}={quote(self._text(), safe='/+')}" for _ in range(chosen.choice([0, 2, 4, 6]))]
        target = path + ("?" + "&".join(pairs) if pairs else "")
        method = route.method if chosen.random() < 0.9 else chosen.choice(["HEAD", "OPTIONS", "PUT", "DELETE", "get"])
        lines = [f"{method} {target} HTTP/1.1", "Host: proxy"]
        if self._token:
            lines.append(f"Authorization: Bearer {self._token}")
        lines += chosen.sample(HEADERS, chosen.choice([0, 0, 1, 2]))
        body = chosen.choice(BODIES) if method not in {"GET", "HEAD"} or chosen.random() < 0.1 else b""
        if body and chosen.random() < 0.3:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif body or method in {"POST", "PUT"}:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def mutated(self, data: bytes) -> bytes:
        """The bytes with up to four changes: replaced, removed, repeated, or with a piece of HTTP between them."""
        chosen, changed = self._random, bytearray(data)
        for _ in range(chosen.choice([1, 1, 2, 4])):
            at = chosen.randrange(len(changed) + 1)
            end = min(len(changed), at + chosen.choice([1, 1, 4, 30]))
            match chosen.randrange(4):
                case 0:
                    changed[at:end] = bytes(chosen.randrange(256) for _ in range(end - at))
                case 1:
                    del changed[at:end]
                case 2:
                    changed[at:at] = changed[at:end]
                case _:
                    changed[at:at] = chosen.choice(PIECES)
        return bytes(changed)

    def location(self) -> str:
        """A location for the answers of MLflow."""
        return self._random.choice(LOCATIONS if self._random.random() < 0.5 else LOCATIONS[:1])

    def _value(self, many: bool) -> str:
        count = self._random.choice([1, 2, 4]) if many else 1
        return "/".join(quote(self._text(), safe=_SAFE if self._random.random() < 0.3 else "") for _ in range(count))

    def _text(self) -> str:
        share = self._random.random()
        return self._random.choice(VALUES[:4] if share < 0.4 else VALUES if share < 0.85 else LOCATIONS)
