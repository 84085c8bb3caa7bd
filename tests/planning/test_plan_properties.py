"""What holds of the plan whatever happens, in whatever order, and whenever the operator dies."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planning.world import World, spec_of

ENDS = st.sampled_from(["good", "good", "good", "crash", "infeasible", "garbage", "lost"])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("finish"), st.integers(0, 7), ENDS),
        st.tuples(st.just("die"), st.integers(0, 6)),
        st.tuples(st.just("vanish"), st.integers(0, 7)),
        st.tuples(st.just("suspend")),
        st.tuples(st.just("parallel"), st.integers(1, 5)),
        st.tuples(st.just("evict"), st.integers(0, 7)),
        st.tuples(st.just("clock"), st.integers(1, 600)),
    ),
    min_size=10,
    max_size=80,
)
CHANGES = {
    "good": {},
    "crash": {"exit_code": 1, "termination": "boom"},
    "infeasible": {"exit_code": 42, "termination": '{"error": "too large"}'},
    "garbage": {"exit_code": 0, "termination": "{"},
    "lost": {"failure": "NodeLost"},
}


def make(parallel: int, algorithm: str) -> World:
    budget = {"maxTrials": 12, "parallelTrials": parallel, "maxFailedTrials": 1000}
    kinds = {"random": {"random": {}}, "evolution": {"regularizedEvolution": {"population": 4, "sample": 2}}}
    return World(spec_of(budget=budget, algorithm=kinds[algorithm], retrain={"topK": 1, "seeds": 1}))


def happen(world: World, event: tuple) -> None:
    """Something happens outside; then the operator looks, and possibly dies in the middle of what it does."""
    running = world.running()
    match event:
        case ("finish", which, end) if running:
            world.finish(running[which % len(running)], **CHANGES[end])
        case ("vanish", which) if running:
            world.remove(running[which % len(running)])
        case ("evict", which) if running:
            world.evict(running[which % len(running)], f"pod-{world.now.timestamp()}")
        case ("clock", seconds):
            world.tick(seconds)
        case ("suspend",):
            world.change(world.spec.model_copy(update={"suspend": not world.spec.suspend}))
        case ("parallel", count):
            budget = world.spec.budget.model_copy(update={"parallel_trials": count})
            world.change(world.spec.model_copy(update={"budget": budget}))
        case ("die", writes):
            world.apply(world.plan(), until=writes)
            world.forget()
            return
        case _:
            pass
    world.settle()


def check(world: World) -> None:
    """What must hold after every event."""
    searching = [trial for trial in world.trials.values() if trial.spec.work in {"Train", "Supernet"}]
    assert len(searching) <= world.spec.budget.max_trials, "the budget is never exceeded"
    assert sorted(trial.spec.index for trial in searching) == list(range(len(searching))), "no index is left out"
    sequences = sorted(trial.status.sequence for trial in world.trials.values() if trial.finished)
    assert sequences == list(range(len(sequences))), "results are recorded once, one after the other"
    assert set(world.jobs) <= {trial.name for trial in world.trials.values() if not trial.finished}
    proposals = Counter(str(trial.spec.architecture) for trial in searching)
    assert max(proposals.values(), default=1) == 1, "no architecture is proposed twice"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS, parallel=st.integers(1, 4), algorithm=st.sampled_from(["random", "evolution"]))
def test_the_budget_holds_and_nothing_is_lost_whatever_happens(events, parallel, algorithm):
    world = make(parallel, algorithm)
    world.settle()
    for event in events:
        happen(world, event)
        check(world)
    world.change(world.spec.model_copy(update={"suspend": False}))
    for _ in range(100):
        decided = world.settle()
        check(world)
        if decided.status.completion_time:
            break
        world.finish(world.running()[0])
    assert world.search.status.completion_time
    assert world.jobs == {}
    finished = [trial for trial in world.trials.values() if trial.finished and trial.spec.work == "Train"]
    assert world.search.status.trials.done == f"{len(finished)}/12"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS, parallel=st.integers(1, 4))
def test_planning_twice_is_planning_once(events, parallel):
    world = make(parallel, "evolution")
    for event in events:
        happen(world, event)
        if event[0] == "die":
            continue
        decided = world.plan()
        undone = [*decided.outcomes, *decided.create, *decided.asks, *decided.start, *decided.stop]
        assert undone == []
        assert not decided.states
        assert decided.status == world.search.status
        assert world.plan() == decided


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    order=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    deaths=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), max_size=10),
    batches=st.lists(st.integers(1, 3), min_size=12, max_size=12),
)
def test_proposals_follow_from_the_order_of_completion_alone(order, deaths, batches):
    """However often the operator dies, and however many results it finds at once."""
    calm, rough = make(4, "evolution"), make(4, "evolution")
    completed: list[str] = []
    calm.settle()
    for choice in order:
        running = calm.running()
        if not running:
            break
        name = running[choice % len(running)]
        completed.append(name)
        calm.finish(name)
        calm.settle()
    rough.settle()
    remaining, step = list(completed), 0
    while remaining:
        ready = 0
        for name in remaining[: batches[step % len(batches)]]:
            if name not in rough.jobs:
                break
            rough.finish(name)
            ready += 1
        remaining = remaining[ready:]
        for when, writes in deaths:
            if when == step:
                rough.apply(rough.plan(), until=writes)
                rough.forget()
        rough.settle()
        step += 1
        assert step < 200
    assert {n: t.spec.architecture for n, t in calm.trials.items()} == {
        n: t.spec.architecture for n, t in rough.trials.items()
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(0, 3))
def test_a_history_read_again_is_the_same(seed, parallel):
    world = make(parallel + 1, "evolution")
    world.change(world.spec.model_copy(update={"seed": seed}))
    for _ in range(40):
        decided = world.settle()
        if decided.status.completion_time:
            break
        world.finish(world.running()[seed % len(world.running())])
    before = world.search.status
    world.forget()
    assert world.plan().status == before


GPU_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("clock"), st.integers(1, 900)),
        st.tuples(st.just("clock"), st.integers(1, 900)),
        st.tuples(st.just("finish"), st.integers(0, 7), ENDS),
        st.tuples(st.just("vanish"), st.integers(0, 7)),
        st.tuples(st.just("evict"), st.integers(0, 7)),
        st.tuples(st.just("suspend")),
        st.tuples(st.just("die"), st.integers(0, 6)),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=GPU_EVENTS, parallel=st.integers(1, 4))
def test_no_accelerator_time_is_lost_and_what_is_used_up_stays_used_up(events, parallel):
    """Whatever stops a Job: what its pods used still counts when they, and the operator's memory, are gone."""
    world = make(parallel, "random")
    world.accelerators = 2.0
    world.change(world.spec.model_copy(update={"budget": world.spec.budget.model_copy(update={"gpu_hours": "1"})}))
    world.settle()
    for event in events:
        happen(world, event)
        if event[0] == "die":
            continue
        assert world.history is not None
        counted = world.history.accelerator_seconds + sum(item.accelerator_seconds for item in world.opened())
        assert counted == world.used
        ended = {item.type: item.reason for item in world.search.status.conditions}["Succeeded"]
        if world.used >= 3600 and world.search.status.stage != "Done":
            assert ended == "BudgetUsed"
            assert world.jobs == {}
        else:
            assert ended != "BudgetUsed"


def test_the_plan_asks_to_look_again_when_the_accelerator_hours_will_be_used_up():
    world = make(2, "random")
    world.accelerators = 2.0
    world.change(world.spec.model_copy(update={"budget": world.spec.budget.model_copy(update={"gpu_hours": "1"})}))
    decided = world.settle()
    world.finish(world.running()[0])
    decided = world.settle()
    assert len(world.running()) == 2
    assert decided.look_again == (3600 - world.used) / 4
    world.tick(int(decided.look_again) + 1)
    world.settle()
    assert 3600 <= world.used < 3600 + 8
    assert world.jobs == {}
