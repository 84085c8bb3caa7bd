"""Searchers in other processes are told what a searcher in this one is told, also after theirs has died."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from planning.world import World, run_to_end, spec_of

from archsearch.planning import Ask
from archsearch.planning.propose import Replay
from archsearch_operator.proposals import Proposals


def test_a_process_that_died_is_told_everything_again_with_the_scores_of_the_pool() -> None:
    algorithm = {"gaussianProcess": {"initial": 2, "zeroCost": {"scores": ["naswot"], "pool": 40}}}
    world = World(spec_of(algorithm=algorithm, budget={"maxTrials": 8, "parallelTrials": 1}, retrain={"topK": 0}))
    run_to_end(world)
    history, asks = world.history, [Ask(8, 8)]
    assert history is not None
    assert len(history.untrained) == 40

    def here(*told: Any) -> Any:
        replay = Replay(world.search.spec, *told)
        replay.tell(history.observed)
        return replay.ask([], asks)

    async def there() -> list[Any]:
        proposals = Proposals(processes=1)
        try:
            first = await proposals.ask(world.search, history, [], asks)
            again = await proposals.ask(world.search, history, [], asks)
            for process in proposals._pools[0]._processes.values():
                os.kill(process.pid, signal.SIGKILL)
            return [first, again, await proposals.ask(world.search, history, [], asks)]
        finally:
            proposals.close()

    assert asyncio.run(there()) == [here(history.untrained)] * 3
    assert here() != here(history.untrained)
