"""The torch networks of the spaces, each built by one piece of code through a chooser."""

from archsearch.networks.base import SpaceNetwork
from archsearch.networks.build import check_custom, inherit, network, supernet, trace
from archsearch.networks.chooser import Alternatives, Chooser, Fixed, Mix, Mixture, Number, Sparse, Super, Trace
from archsearch.networks.custom import WrongNetwork

__all__ = [
    "Alternatives", "Chooser", "Fixed", "Mix", "Mixture", "Number", "SpaceNetwork", "Sparse", "Super", "Trace",
    "WrongNetwork", "check_custom", "inherit", "network", "supernet", "trace",
]  # fmt: skip
