"""The queue: a key waits once, and no two workers have it."""

from __future__ import annotations

import asyncio

from archsearch_operator.workqueue import Key, WorkQueue

A, B = Key("ns", "a"), Key("ns", "b")


async def test_a_key_waits_once_however_often_it_is_added():
    queue = WorkQueue()
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [A, B]


async def test_a_key_that_is_worked_on_comes_back_once_and_only_afterwards():
    queue = WorkQueue()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert len(queue) == 1
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_of_two_times_the_earlier_holds():
    queue = WorkQueue()
    queue.add_after(A, 30)
    queue.add_after(A, 0.01)
    queue.add_after(A, 60)
    assert await asyncio.wait_for(queue.get(), 5) == A


async def test_failures_wait_longer_each_time_and_success_forgets_them():
    queue = WorkQueue()
    assert [queue.add_rate_limited(A) for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert [queue.add_rate_limited(A) for _ in range(30)][-1] == 300.0
    queue.forget(A)
    assert queue.add_rate_limited(A) == 0.2
