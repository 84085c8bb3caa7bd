"""A preflight holds a custom space's network to its spec, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Workplace

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-space"
WORDS = ["conv_3x3", "conv_5x5", "group_3x3"]
DEPTH = {"name": "depth", "options": ["2", "3", "4"]}
DEEP = [{"choice": "depth", "option": "4"}]
CHOICES: list[dict[str, Any]] = [
    DEPTH,
    {"name": "block/0", "options": WORDS},
    {"name": "block/1", "options": WORDS},
    {"name": "block/2", "options": WORDS, "when": [{"choice": "depth", "option": "3"}, *DEEP]},
    {"name": "block/3", "options": WORDS, "when": DEEP},
]


def custom(**changes: Any) -> dict[str, Any]:
    sizes = {"search": {"channels": "4"}, "final": {"channels": "8"}}
    return {"custom": {"module": "plainnet:PlainNet", "choices": CHOICES, **sizes, **changes}}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (custom(module="plainnets:PlainNet"), "space.custom.module: plainnets cannot be imported in the trial image"),
        (custom(choices=CHOICES[:4]), "choices of the spec: block/3 is asked for, but not declared"),
        (
            custom(choices=[*CHOICES[:4], {"name": "block/3", "options": WORDS}]),
            "where its `when` holds, but not so for block/3 in {",
        ),
        (
            custom(choices=[*CHOICES[:3], {**CHOICES[3], "when": DEEP}, CHOICES[4]]),
            "where its `when` holds, but not so for block/2",
        ),
        (custom(final={}), "space.custom.module: plainnet:PlainNet cannot be made (KeyError: 'channels')"),
        (custom(search={"channels": "0"}), "space.custom.module: "),
    ],
)
def test_a_network_that_does_not_fit_the_spec_ends_the_preflight(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], said: str
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    ending = workplace.run(workplace.document("Preflight", space=space))
    assert ending.code == 3
    assert ending.message.error is not None
    assert said in ending.message.error


def test_a_network_that_fits_is_said_to(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    ending = workplace.run(workplace.document("Preflight", space=custom()))
    assert ending.code == 0
    assert any("it asks for exactly the 5 choices of the spec" in line for line in ending.log)
