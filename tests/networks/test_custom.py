"""A custom space's network is a class of the user's: what keeps the contract works, and what does not is told."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.load import read_search
from archsearch.api.signature import Input, Signature, image_signature
from archsearch.hardware import Deployed, count, export_onnx
from archsearch.networks import WrongNetwork, check_custom, inherit, network, supernet
from archsearch.spaces import Space, space_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom-space"
SHAPE = (1, 7, 6)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Space:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.delitem(sys.modules, "plainnet", raising=False)
    _, spec = read_search(EXAMPLE / "spec.yaml")
    assert spec.space is not None
    return space_of(spec.space)


def other(space: Space, **changes: Any) -> Space:
    """The space with another module or other choices."""
    return space_of(SpaceSpec.model_validate({"custom": space.settings.wire() | changes}))


def test_the_example_asks_for_exactly_what_its_spec_declares(example: Space) -> None:
    check_custom(example)
    assert example.size() == 9 + 27 + 81


def test_a_network_of_the_example_is_one_path_of_its_supernet(example: Space) -> None:
    torch.manual_seed(0)
    mixed = supernet(example, signature=image_signature(SHAPE, 3)).eval()
    images, rng = torch.randn(4, *SHAPE), np.random.default_rng(0)
    for _ in range(6):
        architecture = example.sample(rng)
        fixed = network(example, architecture, stack="search", signature=image_signature(SHAPE, 3), affine=False).eval()
        assert len(fixed.get_submodule("blocks")) == architecture["depth"]  # type: ignore[arg-type]
        inherit(fixed, mixed.state_dict())
        torch.testing.assert_close(fixed(images), mixed(images, architecture.values))


def test_the_example_is_counted_and_exported(example: Space, tmp_path: Path) -> None:
    fixed = network(example, example.at(0), stack="final", signature=image_signature(SHAPE, 3))
    # A stem of 9 x 16 + 16 weights, two blocks of 16 x 16 x 9 + 32, a head of 17 x 3.
    assert count(fixed, torch.zeros(1, *SHAPE))[0] == 160 + 2 * (2304 + 32) + 51
    images = Input(name="images", shape=SHAPE, mean=(100.0,), std=(50.0,))
    model = Deployed(fixed, Signature(inputs=(images,), outputs="Classes", classes=3))
    assert export_onnx(model, tmp_path / "model.onnx") < 1e-5


def test_every_difference_between_network_and_spec_is_named(example: Space) -> None:
    choices = example.settings.wire()["choices"]
    choices[0]["options"] = ["2", "4"]
    changed = other(example, choices=[{"name": "width", "options": ["8"]}, choices[0], *choices[1:3], choices[4]])
    with pytest.raises(WrongNetwork) as caught:
        check_custom(changed)
    assert str(caught.value) == (
        "space.custom.module: plainnet:PlainNet must ask for exactly the choices of the spec: "
        "block/2 is asked for, but not declared; width is declared, but not asked for; "
        "depth has the options [2, 3, 4] in the network, but [2, 4] in the spec"
    )


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module:Net", "no_such_module cannot be imported in the trial image (ModuleNotFoundError: No module"),
        ("broken:Net", "broken cannot be imported in the trial image (SyntaxError: invalid syntax"),
        ("raises:Net", "raises cannot be imported in the trial image (RuntimeError: no licence)"),
        ("plainnet:Missing", "plainnet has no Missing"),
        ("plainnet:Alternatives", "plainnet:Alternatives must be a class of torch.nn.Module, but is <class"),
        ("plainnet:_convolution", "plainnet:_convolution must be a class of torch.nn.Module, but is <function"),
        ("wrong:NoArguments", "wrong:NoArguments cannot be made (TypeError: "),
        ("wrong:AsksTwice", "wrong:AsksTwice cannot be made (ValueError: depth must always be asked alike"),
    ],
)
def test_a_class_that_cannot_be_used_is_told_in_a_line(
    example: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text("class Net(:\n")
    (tmp_path / "raises.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "wrong.py").write_text(
        "from torch import nn\n"
        "class NoArguments(nn.Module):\n    pass\n"
        "class AsksTwice(nn.Module):\n"
        "    def __init__(self, chooser, settings, **others):\n"
        "        super().__init__()\n"
        "        chooser.number('depth', (2, 3)), chooser.number('depth', (2, 3, 4))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WrongNetwork, match="^" + re.escape(f"space.custom.module: {message}")):
        check_custom(other(example, module=module))


def test_a_network_made_of_operations_can_be_mixed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mixed.py").write_text(
        "from torch import nn\n"
        "from archsearch.networks import Alternatives\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, chooser, settings, *, image_channels, classes, affine):\n"
        "        super().__init__()\n"
        "        build = {w: lambda n, k=k: nn.Conv2d(n, n, k, padding=k // 2) for w, k in (('a', 1), ('b', 3))}\n"
        "        self.operation = chooser.operation('operation', Alternatives(build, image_channels))\n"
        "        self.classifier = nn.Linear(image_channels, classes)\n"
        "    def forward(self, images, mix=None):\n"
        "        return self.classifier(self.operation(images, mix).mean((2, 3)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    choices = [{"name": "operation", "options": ["a", "b"]}]
    space = space_of(SpaceSpec.model_validate({"custom": {"module": "mixed:Net", "choices": choices, "mixable": True}}))
    check_custom(space)
    mixed: nn.Module = supernet(space, signature=image_signature(SHAPE, 3))
    images = torch.randn(2, *SHAPE)
    alone = [mixed(images, {"operation": name}) for name in ("a", "b")]
    torch.testing.assert_close(
        mixed(images, {"operation": torch.tensor([0.25, 0.75])}), 0.25 * alone[0] + 0.75 * alone[1]
    )
