"""An event loop on which time passes a thousand times as fast: an hour in a few seconds, with real code and threads.

    run_fast(main)

Margins in such a test are best counted in minutes: a busy machine's hiccup of 50 ms is close to one.
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
    """`time()` and everything that is scheduled by it are fast; sockets and threads are not."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return super().time() * SPEED


def run_fast(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        runner.run(main())


def now() -> float:
    """The running loop's time: the clock of what a test gives one to."""
    return asyncio.get_running_loop().time()
