"""The operations of the cells, alone."""

import pytest
import torch
from torch import nn

from archsearch.networks.chooser import Mixture
from archsearch.networks.operations import (
    DARTS_OPERATIONS,
    ENAS_OPERATIONS,
    NASBENCH201_OPERATIONS,
    NASNET_OPERATIONS,
    FactorizedReduce,
    ResidualReduction,
    Zero,
)

SIZES = [(8, 8), (7, 5), (2, 2), (1, 1), (1, 6)]
OPERATIONS = [
    pytest.param(build, stride, id=f"{space}-{name}-{stride}")
    for space, operations in {
        "darts": DARTS_OPERATIONS,
        "nasbench201": NASBENCH201_OPERATIONS,
        "nasnet": NASNET_OPERATIONS,
        "enas": ENAS_OPERATIONS,
    }.items()
    for name, build in operations.items()
    for stride in (1, 2)
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("build", "stride"), OPERATIONS)
def test_an_operation_keeps_channels_and_rounds_the_reduced_size_up(build, stride, size) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(3, 6, *size)
    y = build(6, stride, True)(x)
    assert y.shape == (3, 6, -(-size[0] // stride), -(-size[1] // stride))
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_residual_reduction_rounds_the_size_up(size: tuple[int, int]) -> None:
    assert ResidualReduction(4, 8)(torch.randn(3, 4, *size)).shape == (3, 8, -(-size[0] // 2), -(-size[1] // 2))


@pytest.mark.parametrize(("size", "pixels"), [((4, 4), 4), ((5, 5), 9), ((1, 1), 1)])
def test_a_factorized_reduction_sees_even_pixels_in_one_half_and_odd_ones_in_the_other(size, pixels) -> None:  # type: ignore[no-untyped-def]
    reduce = FactorizedReduce(1, 2, affine=False)
    nn.init.ones_(reduce.even.weight)
    nn.init.ones_(reduce.odd.weight)
    reduce.norm = nn.Identity()  # type: ignore[assignment]
    x = torch.arange(1.0, 1 + size[0] * size[1]).reshape(1, 1, *size)
    even, odd = reduce(x)[0]
    assert even.flatten().tolist() == x[0, 0, ::2, ::2].flatten().tolist()
    expected = torch.zeros(pixels).reshape(even.shape)
    seen = x[0, 0, 1::2, 1::2]
    expected[: seen.shape[0], : seen.shape[1]] = seen
    assert odd.tolist() == expected.tolist()


def test_a_mixture_weighs_each_operation_and_leaves_none_out() -> None:
    class Broken(Zero):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("none must not be computed")

    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    mixture = Mixture("edge", {"skip": nn.Identity(), "none": Broken(1), "twice": Twice()})
    weights = torch.tensor([0.5, 0.2, 0.3], requires_grad=True)
    x = torch.full((1, 1, 2, 2), 10.0)
    y = mixture(x, {"edge": weights})
    assert y.flatten().tolist() == pytest.approx([11.0] * 4)
    y.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [40.0, 0.0, 80.0]


def test_a_mixture_with_the_wrong_number_of_weights_is_refused() -> None:
    mixture = Mixture("edge", {"skip": nn.Identity(), "none": Zero(1)})
    with pytest.raises(ValueError, match="must have"):
        mixture(torch.zeros(1, 1, 2, 2), {"edge": torch.ones(3)})
