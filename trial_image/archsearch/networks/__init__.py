"""The torch networks of the spaces, each built by one piece of code through a chooser."""

from archsearch.networks.base import SpaceNetwork
from archsearch.networks.build import inherit, network, supernet, trace
from archsearch.networks.chooser import Alternatives, Chooser, Fixed, Mix, Mixture, Number, Sparse, Super, Trace

__all__ = [
    "Alternatives", "Chooser", "Fixed", "Mix", "Mixture", "Number", "SpaceNetwork", "Sparse", "Super", "Trace",
    "inherit", "network", "supernet", "trace",
]  # fmt: skip
