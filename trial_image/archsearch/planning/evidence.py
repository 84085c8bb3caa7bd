"""What a searcher in a Job of its own is told: results and proposals as numbers of the space, packed into its document.

A process is given its work in one environment variable of at most 128 KiB. An architecture is a number there, and some
thousand results fit. Of more the latest are told, and of the others only which architectures they were, so that none is
proposed again.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Final

from archsearch.planning.history import History
from archsearch.searchers import Evidence, Proposal, Result
from archsearch.spaces import Space

MAX_LENGTH: Final = 64 * 1024
MAX_UNPACKED: Final = 16 * 1024 * 1024
LONGEST: Final = 8
"""How many architectures are told without their results for each one with."""


def pack(history: History, space: Space, observed: int) -> str:
    """The evidence of a searcher that may know the results of `observed` trials."""
    results = [result for item in history.observed[:observed] for result in item.results]
    done = {result.architecture.id for result in results}
    pending = [str(space.rank(a)) for a in history.proposed if a.id not in done]
    told: list[list[Any]] = [[str(space.rank(r.architecture)), r.scores, r.excess, r.seconds] for r in results]
    earlier: list[str] = []
    while True:
        document = {"index": len(history.proposed), "results": told, "pending": pending, "earlier": earlier}
        text = base64.b64encode(zlib.compress(json.dumps(document).encode(), 9)).decode()
        if len(text) <= MAX_LENGTH or not told:
            return text
        forgotten = len(told) // 8 + 1
        earlier += [rank for rank, *_ in told[:forgotten]]
        # Numbers alone can be too many in spaces where they are long: a searcher without results would be blind.
        earlier = earlier[max(0, len(earlier) - LONGEST * len(told)) :]
        told = told[forgotten:]


def unpack(text: str, space: Space) -> Evidence:
    """The same again. Raises ValueError for what is no such text."""
    try:
        unpacked = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
        document: dict[str, Any] = json.loads(unpacked)
        results = [
            Result(
                Proposal(space.at(int(rank))),
                None if scores is None else tuple(float(score) for score in scores),
                tuple(None if part is None else float(part) for part in excess),
                None if seconds is None else float(seconds),
            )
            for rank, scores, excess, seconds in document["results"]
        ]
        pending = [Proposal(space.at(int(rank))) for rank in document["pending"]]
        earlier = [space.at(int(rank)) for rank in document["earlier"]]
        index = int(document["index"])
    except (zlib.error, KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"evidence must be what the operator packed, but is not ({error})") from None
    proposals = [*(result.proposal for result in results), *pending]
    proposed = {architecture.id: 1.0 for architecture in earlier}
    proposed |= {proposal.architecture.id: proposal.fidelity for proposal in proposals}
    return Evidence(index, results, pending, proposed)
