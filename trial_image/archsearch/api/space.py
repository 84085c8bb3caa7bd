"""The union of the spaces: the architectures that are searched."""

from __future__ import annotations

from pydantic import Field

from archsearch.api.base import OneOf
from archsearch.api.cells import DARTS_OPERATIONS, CellStack, DartsCells, DartsOperation, NasBench201, StageStack

__all__ = ["DARTS_OPERATIONS", "CellStack", "DartsCells", "DartsOperation", "NasBench201", "Space", "StageStack"]


class Space(OneOf):
    """The architectures that are searched."""

    darts_cells: DartsCells | None = None
    """The space of most papers on differentiable search."""
    nas_bench201: NasBench201 | None = Field(default=None, alias="nasBench201")
    """The cell of NAS-Bench-201."""
