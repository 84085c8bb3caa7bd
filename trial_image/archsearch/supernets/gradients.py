"""The gradient of the architecture weights, first and second order (Liu et al. 2019, section 2.3).

Only what is asked for is computed: no gradient of the network weights where only the architecture's is needed, and
the other way round. Each loss is a function that runs the network with the weights as they are when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

Loss = Callable[[], Tensor]

EPSILON: Final = 0.01
"""Length of the step of the finite difference (Liu et al. 2019, footnote 2)."""


def first_order(architecture_loss: Loss, alphas: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of the architecture's loss at the weights as they are; zeros where a pass does not depend on one."""
    with frozen(weights):
        loss = architecture_loss()
        if not loss.requires_grad:  # everything is decided
            return [torch.zeros_like(alpha) for alpha in alphas]
        return list(torch.autograd.grad(loss, alphas, allow_unused=True, materialize_grads=True))


def second_order(
    training_loss: Loss,
    architecture_loss: Loss,
    alphas: Sequence[Tensor],
    optimiser: torch.optim.SGD,
    *,
    epsilon: float = EPSILON,
) -> list[Tensor]:
    """The gradient of the architecture's loss at the weights that the next step of `optimiser` would lead to.

    That step, w' = w - xi (momentum x buffer + gradient + decay x w) with xi the current learning rate, depends on
    the architecture weights too. The product with its derivative, a Hessian-vector product, is a central difference
    along v, the gradient by w': of step epsilon / |v| to either side. The weights are as before afterwards, to the
    bit; the optimiser is only read.
    """
    (group,) = optimiser.param_groups
    weights: list[Tensor] = group["params"]
    xi, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
    start = [weight.detach().clone() for weight in weights]
    with frozen(alphas):
        descent = torch.autograd.grad(training_loss(), weights, allow_unused=True, materialize_grads=True)
    try:
        with torch.no_grad():
            for weight, gradient in zip(weights, descent, strict=True):
                step = gradient + decay * weight
                if (buffer := optimiser.state[weight].get("momentum_buffer")) is not None:
                    step += momentum * buffer
                weight -= xi * step
        every = [*alphas, *weights]
        gradients = torch.autograd.grad(architecture_loss(), every, allow_unused=True, materialize_grads=True)
        direct, direction = gradients[: len(alphas)], gradients[len(alphas) :]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in direction]))
        radius = epsilon / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        sides = []
        for side in (radius, -radius):
            with torch.no_grad():
                for weight, origin, part in zip(weights, start, direction, strict=True):
                    weight.copy_(origin + side * part)
            sides.append(first_order(training_loss, alphas, weights))
    finally:
        with torch.no_grad():
            for weight, origin in zip(weights, start, strict=True):
                weight.copy_(origin)
    return [
        gradient - xi * (above - below) / (2 * radius) for gradient, above, below in zip(direct, *sides, strict=True)
    ]


@contextmanager
def frozen(tensors: Sequence[Tensor]) -> Iterator[None]:
    """No gradient of these tensors is computed meanwhile."""
    for tensor in tensors:
        tensor.requires_grad_(False)
    try:
        yield
    finally:
        for tensor in tensors:
            tensor.requires_grad_(True)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The batch normalisations that have running statistics. To look for them among thousands of modules takes time."""
    every = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return [module for module in every if module.track_running_stats]


@contextmanager
def batch_statistics(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Batch normalisations in training mode leave their running statistics alone meanwhile.

    The passes of the architecture's gradient run at weights that are never kept, or on the images of the other half.
    """
    for norm in norms:
        vars(norm)["track_running_stats"] = False  # past nn.Module's own, which looks whether it is a weight
    try:
        yield
    finally:
        for norm in norms:
            vars(norm)["track_running_stats"] = True
