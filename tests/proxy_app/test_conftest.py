"""A timeout of pytest-timeout ends a test that waits on uvloop."""

import asyncio

import pytest

from .conftest import new_uvloop


def test_timeout_cancels_a_test_that_waits_on_uvloop() -> None:
    def raise_timeout() -> None:
        pytest.fail("Timeout from pytest-timeout")

    async def wait_for_ever() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(raise_timeout)
        loop.call_later(5, loop.stop)  # so that a failure does not hang itself
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=new_uvloop) as runner, pytest.raises(asyncio.CancelledError, match="Timeout"):
        runner.run(wait_for_ever())
