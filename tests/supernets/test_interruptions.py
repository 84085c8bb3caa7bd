"""A search of any method that is interrupted at any step goes on bit-equal."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from archsearch.evaluation import State
from archsearch.spaces import Space
from archsearch.work.checkpoint import Identity, decode, encode
from tests.supernets.methods import NB201, VARIANTS, finish, settings
from tests.supernets.tiny import SPACE, search

IDENTITY = Identity("team/digits", "digits-abcde-0", "a" * 64)
# Where cells have inputs to choose, those methods again that do something about them.
CASES = {f"nasbench201, {name}": (NB201, variant) for name, variant in VARIANTS.items()} | {
    f"darts, {name}": (SPACE, VARIANTS[name]) for name in ("DARTS", "PCDARTS", "PDARTS", "DARTSPT", "GDAS", "FBNet")
}


def differing(state: State, other: State) -> list[str]:
    assert state[0].keys() == other[0].keys()
    return [name for name, value in state[0].items() if not torch.equal(value, other[0][name])]


@pytest.mark.parametrize(("space", "variant"), CASES.values(), ids=CASES.keys())
def test_a_search_that_is_stopped_after_every_second_step_goes_on_bit_equal(
    space: Space, variant: dict[str, object]
) -> None:
    """Each time in a new process, as it were: a new search that knows nothing but the checkpoint."""
    chosen = settings(variant, space, epochs=3, batch_size=8, architecture_learning_rate="0.05")
    undisturbed = search(chosen, space=space, images=24)
    expected = finish(undisturbed)
    stuttering, reports = search(chosen, space=space, images=24), []
    while stuttering.epoch < stuttering.epochs:
        asked = count()
        report = stuttering.run_epoch(lambda asked=asked: next(asked) >= 2)  # type: ignore[misc]
        if report is not None:
            reports.append(report)
        saved = decode(encode(stuttering.state(), IDENTITY), IDENTITY)
        stuttering = search(chosen, space=space, images=24)
        for parameter in stuttering.network.parameters():
            torch.nn.init.constant_(parameter, 7)  # nothing of what it was made with may remain
        stuttering.load(saved)
    assert reports == expected
    assert stuttering.state()[1] == undisturbed.state()[1]
    assert differing(stuttering.state(), undisturbed.state()) == []
    assert stuttering.architecture() == undisturbed.architecture()
    assert stuttering.candidates() == undisturbed.candidates()
