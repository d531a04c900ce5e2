"""Time to sign a small request: the proxy's signer compared with botocore's."""

import gc
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from statistics import median
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from bench.text import goal, table
from proxy_app import sigv4

_HOST = "eu-west-1.experiments.sagemaker.aws"
_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/bench"
_KEYS = ("AKIDBENCH", "a-made-up-secret-for-the-benchmark", "a-made-up-session-token" * 20)
_PATH = "/api/2.0/mlflow/runs/log-metric"
_BODY = b'{"run_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","key":"loss","value":0.25,"timestamp":1767225601000,"step":10}'
_MOST = 0.25


def run(rounds: int = 15, number: int = 2000) -> dict[str, Any]:
    """Measure the signers in turn, print a table, and return the raw results in microseconds."""
    ways: dict[str, Callable[[int], float]] = {
        "proxy_app.sigv4": _ours,
        "botocore SigV4Auth": _botocore,
        "botocore SigV4Auth, including AWSRequest": _botocore_whole,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way(number) / number * 1e6)
    ours, *others = ways
    rows = [[ours, *_figures(times[ours]), "", "", ""]]
    for name in others:
        ratio = median(mine / theirs for mine, theirs in zip(times[ours], times[name], strict=True))
        rows.append([name, *_figures(times[name]), f"{ratio:.3f}", *goal(ratio, most=_MOST)])
    print(table(["signing a small POST", "us, median", "min-max", "time of proxy / this", "goal", ""], rows))
    return {"signing_us": times}


def _figures(times: Sequence[float]) -> list[str]:
    return [f"{median(times):.1f}", f"{min(times):.1f}-{max(times):.1f}"]


def _timed(work: Callable[[], None]) -> float:
    """Seconds that `work` takes; like timeit, with the garbage collector disabled."""
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    finally:
        gc.enable()


def _ours(number: int) -> float:
    credentials = sigv4.Credentials(*_KEYS)
    # As the proxy passes them: lower case, unsorted.
    headers = [("host", _HOST), ("x-mlflow-sm-tracking-server-arn", _ARN), ("content-type", "application/json")]

    def work() -> None:
        for _ in range(number):
            sigv4.signed_headers(
                "POST",
                sigv4.canonical_path(_PATH),
                sigv4.encoded_query(""),
                headers,
                sha256(_BODY).hexdigest(),
                credentials=credentials,
                region="eu-west-1",
                service="sagemaker-mlflow",
                now=time.time(),
            )

    return _timed(work)


def _request() -> AWSRequest:
    headers = {"x-mlflow-sm-tracking-server-arn": _ARN, "Content-Type": "application/json"}
    return AWSRequest(method="POST", url=f"https://{_HOST}{_PATH}", data=_BODY, headers=headers)


def _signer() -> SigV4Auth:
    return SigV4Auth(BotocoreCredentials(*_KEYS), "sagemaker-mlflow", "eu-west-1")


def _botocore(number: int) -> float:
    requests = [_request() for _ in range(number)]

    def work() -> None:
        for request in requests:
            _signer().add_auth(request)

    return _timed(work)


def _botocore_whole(number: int) -> float:
    def work() -> None:
        for _ in range(number):
            _signer().add_auth(_request())

    return _timed(work)
