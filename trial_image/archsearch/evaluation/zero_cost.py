"""Scores of a network at initialisation, from its weights and a few images: the larger, the better.

They are a guess of what training would give. `parameters` is the baseline: a score that ranks no better is worth less,
because it costs more (benchmarks/README.md has the figures).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

from archsearch.api.evaluation import ScoreName
from archsearch.hardware.count import count
from archsearch.networks.inputs import Inputs, each, tensors

Batches = Sequence[tuple[Inputs, Tensor]]
"""Inputs, such as images (B, C, H, W), and targets."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""The mean over a batch, of a network's outputs and the targets."""
Score = Callable[[nn.Module, Batches, Loss], float]
"""From a network that the score may change, at least one batch, and the loss."""

WORST: Final = -1e12
"""Instead of what is not a finite number: below every score of a network whose numbers do not overflow."""
JITTER: Final = 1e-5
"""Added to the eigenvalues of jacobCov, as published: a network that sees no difference has a finite score."""

_aten = torch.ops.aten
ACTIVATIONS: Final = frozenset({
    _aten.relu, _aten.relu_, _aten.hardtanh, _aten.hardtanh_, _aten.silu, _aten.silu_, _aten.hardswish,
    _aten.hardswish_, _aten.gelu,
})  # fmt: skip
"""ReLU and its relatives. hardtanh is what torch makes of ReLU6."""


@torch.enable_grad()
def score(name: ScoreName, network: nn.Module, batches: Batches, loss: Loss = functional.cross_entropy) -> float:
    """The score of a network with new weights. It is finite: WORST stands for what is not.

    batches: of equal size, at least two images each, normalised, on the network's device. A score is that of the mean
    loss over the batches, or the mean of the scores of the batches where there is no loss in it. The network is left as
    it was: a copy is scored, with statistics of the batch in BatchNorm and without dropout, so that nothing is random.
    Raises ValueError where there are too few batches.
    """
    if not batches:
        raise ValueError("batches must hold at least 1 batch, but got 0")
    scored = copy.deepcopy(network).eval()
    for module in scored.modules():
        if isinstance(module, _BatchNorm):
            module.train()
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment] # it would overwrite the outputs that fisher looks at
    value = SCORES[name](scored, batches, loss)
    return value if math.isfinite(value) else WORST


def grad_norm(network: nn.Module, batches: Batches, loss: Loss) -> float:
    """Sum over the layers of the Euclidean norm of their weights' gradient (Abdelfattah et al. 2021, section 3.2)."""
    mean = _mean(_gradients(network, *batch, loss) for batch in batches)
    return float(sum(gradient.norm() for gradient in mean))


def snip(network: nn.Module, batches: Batches, loss: Loss) -> float:
    """Sum of |weight x gradient|: what removing single weights changes in the loss (Lee et al. 2019)."""
    mean = _mean(_gradients(network, *batch, loss) for batch in batches)
    return float(sum((w.detach() * g).abs().sum() for w, g in zip(_weights(network), mean, strict=True)))


def grasp(network: nn.Module, batches: Batches, loss: Loss) -> float:
    """-w'Hg: how fast half the squared norm of the gradient g grows when all weights w shrink; H is the loss' Hessian.

    Wang et al. (2020) prune by -w (Hg), highest first; Abdelfattah et al. (2021, equation 1) sum it over a network with
    this sign, the larger the better. Without the temperature of the former.
    """
    weights = _weights(network)

    def gradients_and_products(inputs: Inputs, targets: Tensor) -> list[Tensor]:
        gradients = _gradients(network, inputs, targets, loss, twice=True)
        along = torch.stack([(w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True)]).sum()
        # H is symmetric, so w'Hg needs Hw only, which unlike Hg can be summed over batches one after the other.
        products = torch.autograd.grad(along, weights, materialize_grads=True)
        return [*(gradient.detach() for gradient in gradients), *products]

    mean = _mean(gradients_and_products(*batch) for batch in batches)
    gradients, products = mean[: len(weights)], mean[len(weights) :]
    return -float(sum((g * p).sum() for g, p in zip(gradients, products, strict=True)))


def synflow(network: nn.Module, batches: Batches, _loss: Loss) -> float:
    """log(1 + sum of w dR/dw), R being the sum of the outputs for an image of ones where every weight w is |w|.

    Tanaka et al. (2020). In float64 and without normalisation, which would undo the flow's size. The logarithm keeps
    the order and makes a difference of orders of magnitude a number to search by; 1 is added so that a network through
    which nothing flows has 0. Only the shape of the images is looked at.
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _NormBase | nn.GroupNorm | nn.LayerNorm):
                setattr(module, name, nn.Identity())
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    ones = each(
        lambda x: torch.ones(
            1, *x.shape[1:], device=x.device, dtype=torch.float64 if x.is_floating_point() else x.dtype
        ),
        batches[0][0],
    )
    outputs = network(ones)
    weights = _weights(network)
    gradients = torch.autograd.grad(outputs.sum(), weights, materialize_grads=True)
    return math.log1p(float(sum((w.detach() * g).sum() for w, g in zip(weights, gradients, strict=True))))


def fisher(network: nn.Module, batches: Batches, loss: Loss) -> float:
    """Sum over the channels of all convolutions and linear layers of half the mean square of a'dL/da over the images.

    a: the channel's outputs for one image, before normalisation (Theis et al. 2018; Turner et al. 2020).
    """
    outputs: list[tuple[Tensor, int]] = []

    def note(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append((output, output.dim() - 1 if isinstance(module, nn.Linear) else 1))

    layers = [module for module in network.modules() if isinstance(module, _ConvNd | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    total = 0.0
    try:
        for inputs, targets in batches:
            outputs.clear()
            gradients = torch.autograd.grad(
                loss(network(inputs), targets), [output for output, _ in outputs], materialize_grads=True
            )
            for (output, channel), gradient in zip(outputs, gradients, strict=True):
                saliency = (output * gradient).detach().movedim(channel, 1)  # (B, channels, ...)
                of_images = saliency.reshape(*saliency.shape[:2], -1).sum(2)
                total += float(of_images.pow(2).mean(0).sum()) / 2
    finally:
        for hook in hooks:
            hook.remove()
    return total / len(batches)


def jacob_cov(network: nn.Module, batches: Batches, _loss: Loss) -> float:
    """How little the gradients of the outputs by the image correlate between images.

    Minus the sum of log(v + k) + 1/(v + k) over the eigenvalues v of their correlation matrix (the first version, 2020,
    of Mellor et al. 2021), k being JITTER. An image on which no output depends has an eigenvalue of 0, the worst.
    """
    total = 0.0
    for batch, _ in batches:
        inputs = each(lambda x: x.detach().clone().requires_grad_(x.is_floating_point()), batch)
        numbers = [x for x in tensors(inputs) if x.is_floating_point()]
        if not numbers:
            raise ValueError("batches must hold numbers for jacobCov, but got tokens alone")
        jacobians = torch.autograd.grad(network(inputs).sum(), numbers, materialize_grads=True)
        rows = torch.cat([jacobian.flatten(1) for jacobian in jacobians], dim=1).double()  # (B, C x H x W)
        if not rows.isfinite().all():
            return math.nan
        rows = functional.normalize(rows - rows.mean(1, keepdim=True), eps=1e-30)
        values = torch.linalg.eigvalsh(rows @ rows.T).clamp_min(0) + JITTER
        total -= float((values.log() + 1 / values).sum())
    return total / len(batches)


def naswot(network: nn.Module, batches: Batches, _loss: Loss) -> float:
    """log det(K + 1), K holding for each two images in how many ReLUs both are active or both are not.

    Mellor et al. (2021, section 3) have log det K. K is a matrix of whole numbers, so it either is singular (where two
    images have the same code, or a network has no ReLU) or has a logarithm of at least 0. With the identity added a
    singular one has a score too: a low one, and 0 where there is no ReLU. Others change by less than 1 in 50,000.
    """
    total = 0.0
    for inputs, targets in batches:
        agreements = _Agreements(len(targets))
        with torch.no_grad(), agreements:
            network(inputs)
        total += float(torch.linalg.slogdet(agreements.kernel + torch.eye(len(targets), dtype=torch.float64))[1])
    return total / len(batches)


def zico(network: nn.Module, batches: Batches, loss: Loss) -> float:
    """Sum over the layers of log(sum over weights of mean |gradient| / deviation of the gradient), both over batches.

    Li et al. (2023; the deviation is of the gradient, as in the published code). What does not vary has no part in it,
    and a layer without gradient adds nothing. Raises ValueError where there are fewer than two batches.
    """
    if len(batches) < 2:
        raise ValueError(f"batches must hold at least 2 batches for zico, but got {len(batches)}")
    total = 0.0
    for gradients in zip(*(_gradients(network, *batch, loss) for batch in batches), strict=True):
        each = torch.stack(gradients).double()  # (batches, ...)
        deviation = each.std(0, correction=0)
        varies = deviation != 0  # true of NaN too, so that it is not overlooked
        if varies.any():
            total += float((each.abs().mean(0)[varies] / deviation[varies]).sum().log())
    return total


def parameters(network: nn.Module, batches: Batches, _loss: Loss) -> float:
    """Trainable parameters: the baseline."""
    return float(count(network, batches[0][0])[0])


def flops(network: nn.Module, batches: Batches, _loss: Loss) -> float:
    """Operations for one image."""
    return float(count(network, batches[0][0])[1])


SCORES: Final[dict[ScoreName, Score]] = {
    "gradNorm": grad_norm, "snip": snip, "grasp": grasp, "synflow": synflow, "fisher": fisher, "jacobCov": jacob_cov,
    "naswot": naswot, "zico": zico, "parameters": parameters, "flops": flops,
}  # fmt: skip
"""By the name that a spec has for it. `score` prepares the network for them."""


class _Agreements(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the activations in which two images agree, whether they are called as modules or as functions."""

    def __init__(self, examples: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel = torch.zeros(examples, examples, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in ACTIVATIONS:
            code = (args[0] > 0).flatten(1).float()  # (B, units); its products are whole numbers and exact
            active = code.sum(1)
            both_or_neither = 2 * code @ code.T + code.shape[1] - active[:, None] - active
            self.kernel += both_or_neither.double().cpu()
        return func(*args, **(kwargs or {}))


def _weights(network: nn.Module) -> list[nn.Parameter]:
    """Of convolutions and matrices: biases and normalisations have no part in the published scores."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad and parameter.dim() > 1]


def _gradients(network: nn.Module, inputs: Inputs, targets: Tensor, loss: Loss, *, twice: bool = False) -> list[Tensor]:
    """Of the loss, by weight; zeros where it does not depend on one. twice: they can be derived again."""
    lost = loss(network(inputs), targets)
    return list(torch.autograd.grad(lost, _weights(network), create_graph=twice, materialize_grads=True))


def _mean(each: Iterable[list[Tensor]]) -> list[Tensor]:
    """The means of lists of tensors that are alike, holding two of them at a time."""
    lists = iter(each)
    total, number = next(lists), 1
    for more in lists:
        total, number = [one + other for one, other in zip(total, more, strict=True)], number + 1
    return [tensor / number for tensor in total]
