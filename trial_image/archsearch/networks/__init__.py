"""The torch networks of the spaces, each built by one piece of code through a chooser."""

from archsearch.networks.base import SpaceNetwork
from archsearch.networks.build import network, supernet, trace
from archsearch.networks.chooser import Chooser, Fixed, Mix, Mixture, Super, Trace

__all__ = ["Chooser", "Fixed", "Mix", "Mixture", "SpaceNetwork", "Super", "Trace", "network", "supernet", "trace"]
