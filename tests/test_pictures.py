"""A picture is an SVG that shows every operation of an architecture, without overlap, and is always the same."""

import json
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from archsearch import cli
from archsearch.api import Space as SpaceSpec
from archsearch.layout import layered
from archsearch.pictures import draw
from archsearch.spaces import Space, space_of
from archsearch.spaces.graph import Edge

BLOCKS = [{"name": f"block/{at}", "options": ["conv3", "pool"]} for at in range(20)]
NAMES = [
    "dartsCells", "nasBench201", "nasnetCells", "enasMacro", "mbconvChain", "elasticChain", "resolutionTrellis",
    "hierarchicalMotifs", "sequenceCells", "sequenceChain", "fusionNetwork", "elasticTransformer",
]  # fmt: skip
SPACES = {name: space_of(SpaceSpec.model_validate({name: {}})) for name in NAMES}
SPACES["custom"] = space_of(SpaceSpec.model_validate({"custom": {"module": "a:B", "choices": BLOCKS}}))
SVG = "{http://www.w3.org/2000/svg}"
EXAMPLE = Path(__file__).parents[1] / "examples" / "darts-digits.yaml"


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_a_picture_shows_every_operation_and_nothing_overlaps(space: Space, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    picture = draw(space, architecture)
    assert draw(space, space.architecture(json.loads(architecture.json()))) == picture
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    cells = space.graph(architecture) if space.graph else {}
    labels = [edge.operation for name, edges in cells.items() if name != "path" for edge in edges if edge.operation]
    labels += [f"{name}: {value}" for name, value in architecture.values.items()] if not space.graph else []
    assert labels
    assert all(texts.count(label) >= labels.count(label) for label in labels)
    width, height = numbers(root, "width", "height")
    # The first one is the background.
    boxes = [numbers(rect, "x", "y", "width", "height") for rect in list(root.iter(f"{SVG}rect"))[1:]]
    for x, y, wide, high in boxes:
        assert 0 <= x <= x + wide <= width
        assert 0 <= y <= y + high <= height
    for (x, y, wide, high), (x2, y2, wide2, high2) in combinations(boxes, 2):
        assert x + wide <= x2 or x2 + wide2 <= x or y + high <= y2 or y2 + high2 <= y


@pytest.mark.parametrize("seed", range(5))
def test_no_line_passes_over_a_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = layered(
        [Edge(str(i), str(j), "operation" if rng.random() < 0.7 else "") for j in range(1, 8) for i in range(j)
         if i == j - 1 or rng.random() < 0.5]
    )  # fmt: skip
    for line in drawn.lines:
        for (x, y), (x2, y2) in pairwise(line):
            for box in drawn.boxes:
                left, right = box.x - box.width / 2, box.x + box.width / 2
                # In a layer lines are level; between layers there are no boxes.
                inside = x < right and x2 > left
                assert not inside or (y == y2 and abs(y - box.y) >= 18) or not left < (x + x2) / 2 < right


def test_the_path_of_a_trellis_is_a_line_through_its_levels() -> None:
    space = space_of(SpaceSpec.model_validate({"resolutionTrellis": {"layers": 3, "levels": 2, "nodes": 1}}))
    path = {"path/0/0": 1, "path/1/1": 1, "path/2/1": 0}
    cell = {"cell/0/inputs": [0, 1], "cell/0/0": "skip_connect", "cell/0/1": "sep_conv_5x5"}
    root = ElementTree.fromstring(draw(space, space.architecture(path | cell)))
    steps = [element.attrib["d"] for element in root.iter(f"{SVG}path") if element.get("stroke-width") == "3"]
    heights = [[float(number) for number in re.findall(r"\s([\d.]+)", step)] for step in steps]
    high, low = heights[0]
    assert low > high
    assert [[high, low], [low, low], [low, high]] == [[pair[0], pair[-1]] for pair in heights]


def test_the_command_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from archsearch.api.load import read_search

    _, spec = read_search(EXAMPLE)
    assert spec.space is not None
    space = space_of(spec.space)
    genotype, out = space.at(5).json(), tmp_path / "five.svg"
    assert cli.main(["picture", str(EXAMPLE), "--genotype", genotype, "-o", str(out)]) == 0
    assert space.at(5).id in capsys.readouterr().out
    assert out.read_text() == draw(space, space.at(5))
    (tmp_path / "genotype.json").write_text(genotype)
    again = tmp_path / "again.svg"
    assert cli.main(["picture", str(EXAMPLE), "--genotype", str(tmp_path / "genotype.json"), "-o", str(again)]) == 0
    assert again.read_text() == out.read_text()


@pytest.mark.parametrize(
    ("genotype", "said"),
    [
        ("{", "--genotype: Expecting property name"),
        ("nowhere.json", "--genotype nowhere.json must be JSON or a file, and cannot be read"),
        ('{"stem": 3}', "--genotype: stem is no choice of dartsCells, but got 3"),
        ("{}", "is missing"),
    ],
)
def test_a_genotype_that_is_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], genotype: str, said: str
) -> None:
    out = tmp_path / "x.svg"
    assert cli.main(["picture", str(EXAMPLE), "--genotype", genotype, "-o", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_what_is_drawn_is_escaped() -> None:
    any_space: Any = SPACES["custom"]
    strange = Space("a<b&c", any_space.choices, any_space.settings)
    assert "a&lt;b&amp;c" in draw(strange, strange.at(0))
