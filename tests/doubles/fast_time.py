"""An event loop whose clock runs a thousand times faster than real time: one hour takes 3.6 s.

    run_fast(main)

Tests should have margins of minutes: a delay of 50 ms on a busy machine is nearly a minute.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

SPEED = 1000


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / SPEED)


class FastLoop(asyncio.SelectorEventLoop):
    """`time()` and scheduled calls are accelerated; sockets and threads are not."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return super().time() * SPEED


def run_fast(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the coroutine function in a FastLoop."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        runner.run(main())


def now() -> float:
    """The running loop's time, for classes that accept a clock."""
    return asyncio.get_running_loop().time()
