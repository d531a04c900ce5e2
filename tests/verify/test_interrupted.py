"""Ctrl-C and SIGTERM leave nothing behind, wherever they come."""

import asyncio
import os
import signal
import subprocess
import threading

import pytest

from tests.verify.conftest import Mlflow, Verify
from tests.verify.test_passing import assert_nothing_active, name_of
from tests.verify.toy_proxy import ADMIN, Seen, ToyProxy


class Holding:
    """Keeps the callers of one route waiting, with the upstream's answer in hand."""

    def __init__(self, route: str, suffix: bytes = b"") -> None:
        self.route = route
        self.suffix = suffix
        self.reached = threading.Event()
        self.held = 0

    async def __call__(self, seen: Seen, body: bytes) -> bytes:
        if seen.route == self.route and self.suffix in seen.body:
            self.held += 1
            self.reached.set()
            await asyncio.sleep(60)
        return body


def held_then(verify: Verify, holding: Holding, proxy: ToyProxy, number: signal.Signals) -> subprocess.Popen[str]:
    process = verify.start(URL=proxy.url, TOKEN=ADMIN)
    assert holding.reached.wait(60)
    process.send_signal(number)
    return process


@pytest.mark.parametrize(
    ("number", "route", "suffix", "made"),
    [
        # Made upstream, while its id is still on its way.
        (signal.SIGINT, "experiments/create", b"-http", 1),
        (signal.SIGTERM, "experiments/create", b"-http", 1),
        (signal.SIGINT, "runs/create", b"-http", 1),
        (signal.SIGINT, "experiments/create", b"-client", 2),
    ],
)
def test_an_interruption_removes_what_was_made(
    mlflow: Mlflow, verify: Verify, number: signal.Signals, route: str, suffix: bytes, made: int
) -> None:
    holding = Holding(route, suffix)
    with ToyProxy(mlflow.url, after=holding) as proxy:
        ended = verify.end(held_then(verify, holding, proxy, number))
    assert ended.code == 130
    assert ended.err == ""
    assert ended.out.splitlines()[-1] == "INTERRUPTED"
    assert_nothing_active(mlflow, name_of(ended), made)


def test_a_second_interruption_leaves_it_and_says_what_it_is(mlflow: Mlflow, verify: Verify) -> None:
    first = Holding("runs/log-batch")
    second = Holding("runs/delete")

    async def after(seen: Seen, body: bytes) -> bytes:
        return await second(seen, await first(seen, body)) if first.held else await first(seen, body)

    with ToyProxy(mlflow.url, after=after) as proxy:
        process = held_then(verify, first, proxy, signal.SIGINT)
        assert second.reached.wait(30)
        process.send_signal(signal.SIGINT)
        ended = verify.end(process)
    assert ended.code == 130
    [name] = mlflow.experiments("ACTIVE_ONLY", name_of(ended))
    assert f"Left behind: the experiment {name}. Its removal was interrupted." in ended.out


def test_a_reader_that_goes_away_changes_nothing(mlflow: Mlflow, verify: Verify) -> None:
    with ToyProxy(mlflow.url) as proxy:
        reading, writing = os.pipe()
        with subprocess.Popen(
            verify.command,
            cwd=verify.folder / "here",
            env=verify.environment(URL=proxy.url, TOKEN=ADMIN),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.close(writing)
            assert os.read(reading, 6) == b"Trying"
            os.close(reading)
            _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, "")
    assert sum(seen.route == "experiments/delete" for seen in proxy.seen) == 2
