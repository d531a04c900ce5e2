"""Ctrl-C and SIGTERM delete the created objects, at any step."""

import asyncio
import os
import signal
import subprocess
import threading

import pytest

from tests.verify.conftest import Mlflow, Verify
from tests.verify.fake_proxy import ADMIN, FakeProxy, RecordedRequest
from tests.verify.test_passing import assert_nothing_active, name_of


class DelayedRoute:
    """Delays the responses of one route after the upstream has responded."""

    def __init__(self, route: str, suffix: bytes = b"") -> None:
        self.route = route
        self.suffix = suffix
        self.reached = threading.Event()
        self.count = 0

    async def __call__(self, recorded: RecordedRequest, body: bytes) -> bytes:
        if recorded.route == self.route and self.suffix in recorded.body:
            self.count += 1
            self.reached.set()
            await asyncio.sleep(60)
        return body


def signal_while_delayed(
    verify: Verify, delayed: DelayedRoute, proxy: FakeProxy, number: signal.Signals
) -> subprocess.Popen[str]:
    process = verify.start(URL=proxy.url, TOKEN=ADMIN)
    assert delayed.reached.wait(60)
    process.send_signal(number)
    return process


@pytest.mark.parametrize(
    ("number", "route", "suffix", "created"),
    [
        # Created on the server, while the response is delayed.
        (signal.SIGINT, "experiments/create", b"-http", 1),
        (signal.SIGTERM, "experiments/create", b"-http", 1),
        (signal.SIGINT, "runs/create", b"-http", 1),
        (signal.SIGINT, "experiments/create", b"-client", 2),
    ],
)
def test_interruption_deletes_created_objects(
    mlflow: Mlflow, verify: Verify, number: signal.Signals, route: str, suffix: bytes, created: int
) -> None:
    delayed = DelayedRoute(route, suffix)
    with FakeProxy(mlflow.url, after=delayed) as proxy:
        completed = verify.end(signal_while_delayed(verify, delayed, proxy, number))
    assert completed.code == 130
    assert completed.err == ""
    assert completed.out.splitlines()[-1] == "INTERRUPTED"
    assert_nothing_active(mlflow, name_of(completed), created)


def test_second_interruption_lists_what_is_not_deleted(mlflow: Mlflow, verify: Verify) -> None:
    first = DelayedRoute("runs/log-batch")
    second = DelayedRoute("runs/delete")

    async def after(recorded: RecordedRequest, body: bytes) -> bytes:
        return await second(recorded, await first(recorded, body)) if first.count else await first(recorded, body)

    with FakeProxy(mlflow.url, after=after) as proxy:
        process = signal_while_delayed(verify, first, proxy, signal.SIGINT)
        assert second.reached.wait(30)
        process.send_signal(signal.SIGINT)
        completed = verify.end(process)
    assert completed.code == 130
    [name] = mlflow.experiments("ACTIVE_ONLY", name_of(completed))
    assert f"Not deleted: the experiment {name}. Its deletion was interrupted." in completed.out


def test_closed_output_pipe_does_not_stop_verification(mlflow: Mlflow, verify: Verify) -> None:
    with FakeProxy(mlflow.url) as proxy:
        reading, writing = os.pipe()
        with subprocess.Popen(
            verify.command,
            cwd=verify.folder / "cwd",
            env=verify.environment(URL=proxy.url, TOKEN=ADMIN),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.close(writing)
            assert os.read(reading, 6) == b"Verify"
            os.close(reading)
            _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, "")
    assert sum(recorded.route == "experiments/delete" for recorded in proxy.requests) == 2
