"""A queue of keys with the semantics of client-go's: a key waits once, and is never handed to two workers at a time."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

FIRST_RETRY = 0.2
LONGEST_RETRY = 300.0


@dataclass(frozen=True, order=True)
class Key:
    """Which search to look at."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkQueue:
    """Keys to look at. All methods must be called in the event loop that runs the workers."""

    def __init__(self) -> None:
        self._waiting: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._working: set[Key] = set()
        self._retries: Counter[Key] = Counter()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Look at the key soon. While a worker has it, it is looked at once more afterwards, however often it came."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._waiting.append(key)
            self._ready.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key in some seconds; the earliest of several such wishes holds."""
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None and not pending.cancelled() and pending.when() <= loop.time() + seconds:
            return
        if pending is not None:
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def add_rate_limited(self, key: Key) -> float:
        """Look at the key again after a failure: 0.2 s, then twice as long each time, at most 5 minutes."""
        delay: float = min(FIRST_RETRY * 2.0 ** min(self._retries[key], 20), LONGEST_RETRY)
        self._retries[key] += 1
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """The key was looked at without a failure."""
        self._retries.pop(key, None)

    async def get(self) -> Key:
        """The next key; done() must follow."""
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """A worker is finished with the key."""
        self._working.discard(key)
        if key in self._dirty:
            self._waiting.append(key)
            self._ready.set()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)
