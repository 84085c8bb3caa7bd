"""Every architecture of a small space, in the order of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archsearch.searchers.base import Evidence, Proposal
from archsearch.spaces import Space

MOST: Final = 100_000
"""Architectures of a space that can be gone through: the most trials that a search may have."""


@dataclass(frozen=True)
class Grid:
    """Proposes all architectures of a space. ValueError for one with more than MOST."""

    space: Space

    def __post_init__(self) -> None:
        if self.space.size() > MOST:
            raise ValueError(
                f"space {self.space.name} must have at most {MOST:,} architectures to try all, "
                f"but has {self.space.size():,}"
            )

    def ask(self, evidence: Evidence) -> Proposal | None:
        """The first architecture that was not proposed; None after the last one."""
        # As many were proposed as are known, so that the first one left is not far from that number.
        start = min(len(evidence.proposed), self.space.size())
        for number in (*range(start, self.space.size()), *range(start)):
            architecture = self.space.at(number)
            if architecture.id not in evidence.proposed:
                return Proposal(architecture)
        return None
