"""The benchmark's own notation of its cells."""

import numpy as np
import pytest

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import InvalidArchitecture, space_of
from archsearch.spaces.nasbench201 import from_string, to_string

SPACE = space_of(SpaceSpec(nas_bench201=NasBench201()))
# The cell of the best test accuracy on CIFAR-10 (Dong and Yang 2020).
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


def test_a_published_cell_reads_as_its_edges() -> None:
    assert dict(from_string(SPACE, BEST).values) == {
        "cell/1/0": "nor_conv_3x3",
        "cell/2/0": "nor_conv_3x3",
        "cell/2/1": "nor_conv_3x3",
        "cell/3/0": "skip_connect",
        "cell/3/1": "nor_conv_3x3",
        "cell/3/2": "nor_conv_1x1",
    }


def test_the_notation_survives_a_round_trip() -> None:
    assert to_string(from_string(SPACE, BEST)) == BEST
    rng = np.random.default_rng(0)
    for _ in range(100):
        architecture = SPACE.sample(rng)
        assert from_string(SPACE, to_string(architecture)) == architecture


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BEST.replace("skip_connect", "conv_7x7"), "cell/3/0 must be one of .*, but got 'conv_7x7'"),
        (BEST.replace("skip_connect~0", "skip_connect~7"), "cell/3/7 is no choice"),
        (BEST[:40], "cell/2/1 must be one of .*, but is missing"),
        (BEST + " ", "a cell must be written"),
        ("", "cell/1/0 must be one of .*, but is missing"),
    ],
)
def test_what_is_no_cell_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        from_string(SPACE, text)
