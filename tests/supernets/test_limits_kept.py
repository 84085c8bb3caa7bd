"""What a differentiable search offers keeps the limits, where the space has anything that does."""

from __future__ import annotations

from archsearch.networks.operations import SKIP
from archsearch.spaces import Architecture
from tests.supernets.methods import every_method, finish, settings
from tests.supernets.tiny import SPACE, search


def no_skips(architecture: Architecture) -> bool:
    return SKIP not in architecture.values.values()


@every_method
def test_what_is_offered_keeps_a_limit_that_anything_keeps(variant: dict[str, object]) -> None:
    training = search(settings(variant, SPACE, epochs=3), images=28)
    finish(training)
    derived = training.candidates()
    assert training.candidates(lambda _: True) == derived
    # Other than what it would offer by itself, unless that keeps the limit already.
    forbidden = {architecture.id for architecture in derived}
    others = training.candidates(lambda architecture: architecture.id not in forbidden)
    assert others
    if variant["method"] != "DARTSPT" and variant.get("derivation") != "Perturbation":  # these have decided everything
        assert forbidden.isdisjoint(architecture.id for architecture in others)
        if variant["method"] != "PDARTS":  # which has dropped most of the operations
            assert all(no_skips(architecture) for architecture in training.candidates(no_skips))
    assert training.candidates(lambda _: False) == derived
