"""The network of a custom space: a class of the user's trial image, and the check that it keeps to the spec.

The contract of `Name` in `module: package.module:Name`:

- It is a `torch.nn.Module`, made as `Name(chooser, settings, image_channels=, classes=, affine=)`. settings: the words
  of `search` or of `final`. affine: whether normalisations inside of mixtures are to have parameters.
- While it is made it asks the chooser (`networks.chooser.Chooser`) for each of its choices: `operation` where the
  options are words, `number` where they are numbers. It keeps what it gets: a module that is called with a map and the
  mix, and a `Number` whose `now(mix)` is the value in this pass. What is asked only for some values of a number is
  asked in a loop over `Number.values`.
- `forward(images, mix=None)`: (N, C, H, W) to logits (N, classes).

It is imported by its name, so from what is installed in the image; data and artifacts are on no path of Python's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, cast

from torch import nn

from archsearch.api.base import ChoiceValue
from archsearch.api.signature import Signature
from archsearch.api.space import CustomSpace
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chooser import Chooser
from archsearch.own_code import NoSuchCode, imported
from archsearch.spaces import Space

FIELD: Final = "space.custom.module"


class WrongNetwork(ValueError):
    """The class is missing or does not keep the contract; str() names field and value."""


def custom_network(
    chooser: Chooser,
    settings: CustomSpace,
    size: Mapping[str, str],
    *,
    signature: Signature,
    affine: bool,
) -> SpaceNetwork:
    """The user's network. Raises WrongNetwork where there is none, or where it cannot be made."""
    made = _class(settings.module)
    try:
        built = made(chooser, dict(size), image_channels=signature.shape[0], classes=signature.classes, affine=affine)
    except Exception as error:
        raise WrongNetwork(f"{FIELD}: {settings.module} cannot be made ({type(error).__name__}: {error})") from error
    return cast("SpaceNetwork", built)


def compare(space: Space, asked: Mapping[str, tuple[ChoiceValue, ...]]) -> None:
    """Hold what a network asks for against what its space declares. Raises WrongNetwork that names all differences."""
    declared = {choice.name: choice.options for choice in space.choices}
    problems = [f"{name} is asked for, but not declared" for name in asked if name not in declared]
    problems += [f"{name} is declared, but not asked for" for name in declared if name not in asked]
    problems += [
        f"{name} has the options {list(options)} in the network, but {list(declared[name])} in the spec"
        for name, options in asked.items()
        if name in declared and options != declared[name]
    ]
    if problems:
        module = cast("CustomSpace", space.settings).module
        raise WrongNetwork(f"{FIELD}: {module} must ask for exactly the choices of the spec: {'; '.join(problems)}")


def _class(module: str) -> Any:
    try:
        found = imported(module, FIELD)
    except NoSuchCode as error:
        raise WrongNetwork(str(error)) from error
    if not inspect.isclass(found) or not issubclass(found, nn.Module):
        raise WrongNetwork(f"{FIELD}: {module} must be a class of torch.nn.Module, but is {found!r:.80}")
    return found
