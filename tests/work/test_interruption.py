"""A signal is heard once, wherever the process is."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from archsearch.work.interruption import Interrupted, Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    """One that listens until the test is over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listening = Interruption()
    listening.install()
    yield listening
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_raises_and_the_second_does_not_break_into_the_way_out(interruption: Interruption) -> None:
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert interruption.requested()


def test_a_signal_that_was_deferred_is_not_raised_later_by_another(interruption: Interruption) -> None:
    """Whoever deferred it has looked, and is on the way out."""
    with interruption.deferred():
        signal.raise_signal(signal.SIGTERM)
        assert interruption.requested()
    signal.raise_signal(signal.SIGTERM)


def test_once_the_outcome_is_known_a_signal_only_sets_the_flag(interruption: Interruption) -> None:
    interruption.finish()
    signal.raise_signal(signal.SIGTERM)
    assert interruption.requested()
