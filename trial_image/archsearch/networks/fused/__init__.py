"""Cells of mixtures computed at once, with gradients written by hand, on the CPU.

What it rests on: all edges that leave a state are computed together, so that its ReLU, its pools and the copies that
it is read in are made once; the mixing weight is the scale of an operation's last normalisation, so that neither a
product nor its gradient is computed; in narrow cells a normalisation is part of the convolution before it; only the
gradients that are asked for are computed, and nothing is kept for the others; and gradients of depthwise convolutions
are written as those calls for which oneDNN has fast kernels.

A pass that is none of mixing weights in training (one path, evaluation, partial channels, another device) is computed
by the plain cell, which is also what is differentiated where a gradient is to be differentiated again.
"""

from archsearch.networks.fused.cell import FusedCell

__all__ = ["FusedCell"]
