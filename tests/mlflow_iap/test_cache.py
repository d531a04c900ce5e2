"""The token cache: a single fetch for all threads, early renewal, retries, forks."""

import concurrent.futures
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlflow_iap import TokenError
from mlflow_iap.cache import RETRY_DELAYS_SECONDS, TokenCache
from mlflow_iap.jwt import Token

START = 1_800_000_000.0


class Issuer:
    """Issues a token valid for one hour at each call, when `open` is set; raises the errors in `failures` first."""

    def __init__(self) -> None:
        self.now = START
        self.calls = 0
        self.active = 0
        self.max_active = 0
        self.failures: list[TokenError] = []
        self.slept: list[float] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.cache = TokenCache(self, now=lambda: self.now, sleep=self.slept.append)

    def __call__(self) -> Token:
        self.calls += 1
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        try:
            self.entered.set()
            assert self.open.wait(10)
            if self.failures:
                raise self.failures.pop(0)
            return Token(f"token {self.calls}", self.now + 3600, {})
        finally:
            self.active -= 1

    def get(self) -> str:
        return self.cache.get().text


def in_50_threads(call: Callable[[], str]) -> list[concurrent.futures.Future[str]]:
    """Make the call in 50 threads that start at the same time; returns when all have ended."""
    barrier = threading.Barrier(50)

    def run() -> str:
        barrier.wait(10)
        return call()

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return [pool.submit(run) for _ in range(50)]


def test_50_threads_without_token_fetch_one() -> None:
    issuer = Issuer()
    issuer.open.clear()
    threading.Timer(0.2, issuer.open.set).start()
    assert {future.result() for future in in_50_threads(issuer.get)} == {"token 1"}
    assert issuer.calls == 1


def test_other_threads_use_old_token_during_early_renewal() -> None:
    issuer = Issuer()
    assert issuer.get() == "token 1"
    issuer.now += 3600 - 200
    issuer.open.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(issuer.get)
        assert issuer.entered.wait(10)
        assert {future.result() for future in in_50_threads(issuer.get)} == {"token 1"}
        issuer.open.set()
        assert renewing.result() == "token 2"
    assert issuer.get() == "token 2"
    assert (issuer.calls, issuer.max_active) == (2, 1)


def test_50_threads_share_one_failure_and_next_call_retries() -> None:
    issuer = Issuer()
    issuer.failures.append(TokenError("no role"))
    issuer.open.clear()
    threading.Timer(0.5, issuer.open.set).start()
    failed = [str(future.exception()) for future in in_50_threads(issuer.get)]
    assert failed == ["no role"] * 50
    assert issuer.calls == 1
    assert issuer.get() == "token 2"


def test_failed_renewal_uses_token_until_expiry_and_retries_every_30_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    issuer = Issuer()
    assert issuer.get() == "token 1"
    issuer.failures = [TokenError("Google is down", transient=True) for _ in range(1000)]
    issuer.now += 3600 - 299
    while issuer.now < START + 3590:
        assert issuer.get() == "token 1"
        issuer.now += 1
    assert 10 <= issuer.calls - 1 <= 11
    assert issuer.slept == []
    assert "the current one is valid until 2027-01-15 09:00:00 UTC. Google is down" in caplog.text
    with pytest.raises(TokenError, match="Google is down"):
        issuer.get()
    issuer.failures.clear()
    assert issuer.get().startswith("token")


def test_only_transient_failures_are_retried() -> None:
    issuer = Issuer()
    issuer.failures = [TokenError("503", transient=True) for _ in range(3)]
    assert issuer.get() == "token 4"
    assert issuer.slept == [1, 2, 4]
    other = Issuer()
    other.failures = [TokenError("no role")]
    with pytest.raises(TokenError, match="no role"):
        other.get()
    assert (other.calls, other.slept) == (1, [])


def test_error_is_raised_after_last_retry() -> None:
    issuer = Issuer()
    issuer.failures = [TokenError("503", transient=True) for _ in range(100)]
    with pytest.raises(TokenError, match="503"):
        issuer.get()
    assert issuer.slept == list(RETRY_DELAYS_SECONDS)


def test_source_returning_same_token_is_not_called_at_every_get() -> None:
    issuer = Issuer()
    old = Token("old", START + 120, {})
    cache = TokenCache(lambda: (issuer(), old)[1], now=lambda: issuer.now)
    for _ in range(60):
        assert cache.get() is old
        issuer.now += 1
    assert issuer.calls <= 3


def test_expired_token_raises_error() -> None:
    cache = TokenCache(lambda: Token("old", START - 1, {}), now=lambda: START)
    with pytest.raises(TokenError, match="expired at 2027-01-15 07:59:59 UTC") as raised:
        cache.get()
    assert raised.value.time_related


def test_clock_set_back_keeps_token_until_expiry() -> None:
    issuer = Issuer()
    assert issuer.get() == "token 1"
    issuer.now -= 86400
    assert issuer.get() == "token 1"
    issuer.now += 86400 + 3600
    assert issuer.get() == "token 2"


def in_child(call: Callable[[], Any]) -> int:
    """Exit code of a forked process that makes the call: 0 if it returns, 1 if it raises, 2 if it hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            call()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return 2


def test_process_forked_during_fetch_fetches_its_own_token() -> None:
    issuer = Issuer()
    issuer.open.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(issuer.get)
        assert issuer.entered.wait(10)

        def in_the_child() -> None:
            issuer.open = threading.Event()
            issuer.open.set()
            assert issuer.get() == "token 2"

        assert in_child(in_the_child) == 0
        issuer.open.set()
        assert fetching.result() == "token 1"


def test_forked_process_keeps_token_and_renews_it_itself() -> None:
    issuer = Issuer()
    assert issuer.get() == "token 1"

    def in_the_child() -> None:
        assert (issuer.get(), issuer.calls) == ("token 1", 1)
        issuer.now += 3600
        assert issuer.get() == "token 2"

    assert in_child(in_the_child) == 0
    assert issuer.calls == 1
