"""One token for all threads, renewed in time by one of them, and used to its end when that fails."""

import concurrent.futures
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlflow_iap import TokenError
from mlflow_iap.cache import PAUSES, TokenCache
from mlflow_iap.jwt import Token

START = 1_800_000_000.0


class Mint:
    """Makes a token an hour long at each call; waits while `open` is not set; raises what is in `failures` first."""

    def __init__(self) -> None:
        self.now = START
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.failures: list[TokenError] = []
        self.slept: list[float] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.cache = TokenCache(self, now=lambda: self.now, sleep=self.slept.append)

    def __call__(self) -> Token:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.entered.set()
            assert self.open.wait(10)
            if self.failures:
                raise self.failures.pop(0)
            return Token(f"token {self.calls}", self.now + 3600, {})
        finally:
            self.at_once -= 1

    def get(self) -> str:
        return self.cache.get().text


def fifty(call: Callable[[], str]) -> list[concurrent.futures.Future[str]]:
    """The call in 50 threads that begin together; all have ended when this returns."""
    together = threading.Barrier(50)

    def begin() -> str:
        together.wait(10)
        return call()

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return [pool.submit(begin) for _ in range(50)]


def test_fifty_threads_that_have_no_token_fetch_one() -> None:
    mint = Mint()
    mint.open.clear()
    threading.Timer(0.2, mint.open.set).start()
    assert {future.result() for future in fifty(mint.get)} == {"token 1"}
    assert mint.calls == 1


def test_while_one_thread_renews_early_the_others_go_on_with_the_old_token() -> None:
    mint = Mint()
    assert mint.get() == "token 1"
    mint.now += 3600 - 200
    mint.open.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(mint.get)
        assert mint.entered.wait(10)
        assert {future.result() for future in fifty(mint.get)} == {"token 1"}
        mint.open.set()
        assert renewing.result() == "token 2"
    assert mint.get() == "token 2"
    assert (mint.calls, mint.most_at_once) == (2, 1)


def test_fifty_threads_whose_try_fails_share_the_failure_and_the_next_call_tries_again() -> None:
    mint = Mint()
    mint.failures.append(TokenError("no role"))
    mint.open.clear()
    threading.Timer(0.5, mint.open.set).start()
    failed = [str(future.exception()) for future in fifty(mint.get)]
    assert failed == ["no role"] * 50
    assert mint.calls == 1
    assert mint.get() == "token 2"


def test_a_token_whose_renewal_fails_is_used_until_its_end_with_a_try_every_half_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mint = Mint()
    assert mint.get() == "token 1"
    mint.failures = [TokenError("Google is down", transient=True) for _ in range(1000)]
    mint.now += 3600 - 299
    while mint.now < START + 3590:
        assert mint.get() == "token 1"
        mint.now += 1
    assert 10 <= mint.calls - 1 <= 11
    assert mint.slept == []
    assert "the old one is good until 2027-01-15 09:00:00 UTC. Google is down" in caplog.text
    with pytest.raises(TokenError, match="Google is down"):
        mint.get()
    mint.failures.clear()
    assert mint.get().startswith("token")


def test_a_failure_of_google_or_the_network_is_tried_again_and_any_other_is_not() -> None:
    mint = Mint()
    mint.failures = [TokenError("503", transient=True) for _ in range(3)]
    assert mint.get() == "token 4"
    assert mint.slept == [1, 2, 4]
    other = Mint()
    other.failures = [TokenError("no role")]
    with pytest.raises(TokenError, match="no role"):
        other.get()
    assert (other.calls, other.slept) == (1, [])


def test_it_gives_up_after_the_last_pause() -> None:
    mint = Mint()
    mint.failures = [TokenError("503", transient=True) for _ in range(100)]
    with pytest.raises(TokenError, match="503"):
        mint.get()
    assert mint.slept == list(PAUSES)


def test_a_source_that_hands_out_an_old_token_again_is_not_asked_at_every_call() -> None:
    mint = Mint()
    old = Token("old", START + 120, {})
    cache = TokenCache(lambda: (mint(), old)[1], now=lambda: mint.now)
    for _ in range(60):
        assert cache.get() is old
        mint.now += 1
    assert mint.calls <= 3


def test_an_expired_token_is_never_handed_out() -> None:
    cache = TokenCache(lambda: Token("old", START - 1, {}), now=lambda: START)
    with pytest.raises(TokenError, match="has expired at 2027-01-15 07:59:59 UTC") as raised:
        cache.get()
    assert raised.value.late


def test_a_clock_that_jumps_back_does_no_harm() -> None:
    mint = Mint()
    assert mint.get() == "token 1"
    mint.now -= 86400
    assert mint.get() == "token 1"
    mint.now += 86400 + 3600
    assert mint.get() == "token 2"


def in_child(call: Callable[[], Any]) -> int:
    """The exit code of a forked process that makes the call: 0 if it returns, 1 if it raises, 2 if it hangs."""
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


def test_a_process_forked_while_a_thread_fetches_gets_its_own_token() -> None:
    mint = Mint()
    mint.open.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(mint.get)
        assert mint.entered.wait(10)

        def in_the_child() -> None:
            mint.open = threading.Event()
            mint.open.set()
            assert mint.get() == "token 2"

        assert in_child(in_the_child) == 0
        mint.open.set()
        assert fetching.result() == "token 1"


def test_a_forked_process_goes_on_with_the_token_and_renews_it_itself() -> None:
    mint = Mint()
    assert mint.get() == "token 1"

    def in_the_child() -> None:
        assert (mint.get(), mint.calls) == ("token 1", 1)
        mint.now += 3600
        assert mint.get() == "token 2"

    assert in_child(in_the_child) == 0
    assert mint.calls == 1
