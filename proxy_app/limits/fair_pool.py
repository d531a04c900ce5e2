"""A capacity, such as slots or bytes, that owners share; above it they wait, one of each owner in turn."""

import asyncio
import time
from collections.abc import Hashable


class QueueFullError(Exception):
    """An owner has as many waiting requests as it may have."""


class _Share:
    """What one owner holds, and its waiting requests in order, each with its size."""

    __slots__ = ("used", "waiting", "waiting_since")

    def __init__(self) -> None:
        self.used = 0
        self.waiting: dict[asyncio.Future[None], int] = {}
        self.waiting_since = 0.0

    @property
    def first_size(self) -> int:
        """The size of the request that waits longest."""
        return next(iter(self.waiting.values()))


class FairPool:
    """A ``capacity`` of which each owner may hold ``per_owner``, with ``max_waiting`` requests of its own in the queue.

    ``capacity`` may change. A request waits until its size fits into both. Owners that wait for the capacity get it in
    turn, one request each; requests of one owner get it in the order of their arrival. A request that waits for the
    capacity holds up smaller ones, one that waits for its owner's share does not. ``used`` is what all owners hold.
    """

    def __init__(self, capacity: int, per_owner: int, max_waiting: int | None = None) -> None:
        self._capacity = capacity
        self.per_owner = per_owner
        self._max_waiting = max_waiting
        self.used = 0
        self._shares: dict[Hashable, _Share] = {}
        # Owners in turn whose first request waits for the capacity alone.
        self._turns: dict[_Share, None] = {}

    @property
    def capacity(self) -> int:
        """The size of the pool; if it shrinks, what is held stays held."""
        return self._capacity

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity = capacity
        self._grant()

    @property
    def free(self) -> int:
        """What no owner holds; negative after the capacity has shrunk below it."""
        return self._capacity - self.used

    @property
    def waiting(self) -> int:
        """The number of waiting requests."""
        return sum(len(share.waiting) for share in self._shares.values())

    @property
    def owners(self) -> int:
        """The number of owners that hold something or wait."""
        return len(self._shares)

    @property
    def largest_share(self) -> int:
        """The most that one owner holds."""
        return max((share.used for share in self._shares.values()), default=0)

    def holds_its_share(self, owner: Hashable, size: int = 1) -> bool:
        """Whether ``size`` more would exceed the owner's share."""
        share = self._shares.get(owner)
        return share is not None and share.used + size > self.per_owner

    def waited(self, owner: Hashable) -> float:
        """For how many seconds requests of this owner have had to wait; 0 if the last one did not."""
        share = self._shares.get(owner)
        return time.monotonic() - share.waiting_since if share is not None and share.waiting_since else 0.0

    def try_acquire(self, owner: Hashable, size: int = 1) -> bool:
        """Take ``size`` if it is free and no request waits for it; returns whether it was taken."""
        share = self._shares.get(owner)
        if self.used + size > self._capacity or self._turns:
            return False
        if share is None:
            share = self._shares[owner] = _Share()
        elif share.waiting or share.used + size > self.per_owner:
            return False
        share.used += size
        self.used += size
        share.waiting_since = 0.0
        return True

    async def acquire(self, owner: Hashable, size: int = 1) -> None:
        """Take ``size``, waiting until it is free. ValueError if it can never be, QueueFullError.

        A cancelled call takes nothing.
        """
        if size > self.per_owner:
            raise ValueError(f"got a size of {size}, expected at most {self.per_owner}")
        if self.try_acquire(owner, size):
            return
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = _Share()
        if self._max_waiting is not None and len(share.waiting) >= self._max_waiting:
            raise QueueFullError
        share.waiting_since = share.waiting_since or time.monotonic()
        turn = asyncio.get_running_loop().create_future()
        share.waiting[turn] = size
        self._queue(share)
        try:
            await turn
        except asyncio.CancelledError:
            if share.waiting.pop(turn, None) is None and not turn.cancelled():
                self.release(owner, size)  # granted in the same moment
            else:
                # Smaller requests may have waited behind it.
                self._queue(share)
                self._grant()
                self._forget(owner, share)
            raise

    def release(self, owner: Hashable, size: int = 1) -> None:
        """Give ``size`` back."""
        share = self._shares[owner]
        share.used -= size
        self.used -= size
        if share.waiting:
            self._queue(share)
        if self._turns:
            self._grant()
        self._forget(owner, share)

    def _queue(self, share: _Share) -> None:
        """Keep the owner's turn, or give it one after the others, if only the capacity holds its first request up."""
        if share.waiting and share.used + share.first_size <= self.per_owner:
            self._turns.setdefault(share)
        else:
            self._turns.pop(share, None)

    def _grant(self) -> None:
        while self._turns:
            share = next(iter(self._turns))
            turn, size = next(iter(share.waiting.items()))
            if not turn.cancelled():
                if self.used + size > self._capacity:
                    return
                share.used += size
                self.used += size
                turn.set_result(None)
                if len(share.waiting) == 1:
                    share.waiting_since = 0.0
            del share.waiting[turn]
            del self._turns[share]
            self._queue(share)

    def _forget(self, owner: Hashable, share: _Share) -> None:
        if not share.used and not share.waiting and self._shares.get(owner) is share:
            del self._shares[owner]
