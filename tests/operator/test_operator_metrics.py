"""The operator shows how its loop does and what the live searches have come to."""

import asyncio
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from archsearch.api.search import ArchitectureSearchStatus
from archsearch_operator.kube import Conflict
from archsearch_operator.metrics import Metrics
from archsearch_operator.workqueue import Key, WorkQueue


def status(**fields) -> ArchitectureSearchStatus:
    return ArchitectureSearchStatus.model_validate(
        {
            "stage": "Search",
            "trials": {"total": 9, "running": 2, "succeeded": 3, "failed": 1},
            "usage": {"gpuHours": 1.5},
            "best": {
                "trial": "t",
                "genotype": {},
                "genotypeId": "0" * 12,
                "metrics": {"accuracy": 0.9, "latencyMs@t4": 7.5, "invented": 1.0},
            },
            "reproducibility": {
                "seed": 0,
                "spaceHash": "0" * 12,
                "operatorVersion": "0",
                "settingsAfterDefaults": {
                    "objectives": [{"metric": "accuracy"}, {"metric": "latencyMs", "profile": "t4"}]
                },
            },
            **fields,
        }
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry) -> Metrics:
    return Metrics(registry)


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_live_searches_are_shown_and_a_deleted_one_vanishes(metrics, registry):
    metrics.update("team-a/one", status())
    metrics.update("team-b/two", status(stage="Done", best=None, usage={"gpuHours": 2.0}))
    assert series(registry, "archsearch_searches") == {
        ("None",): 0, ("Preflight",): 0, ("Search",): 1, ("Profile",): 0, ("Retrain",): 0, ("Export",): 0, ("Done",): 1,
    }  # fmt: skip
    assert series(registry, "archsearch_trials") == {
        ("Pending",): 0, ("Queued",): 0, ("Running",): 4, ("Succeeded",): 6, ("Failed",): 2, ("Infeasible",): 0,
        ("Stopped",): 0,
    }  # fmt: skip
    assert series(registry, "archsearch_search_best_objective") == {
        ("team-a", "one", "accuracy"): 0.9,
        ("team-a", "one", "latencyMs@t4"): 7.5,
    }
    assert series(registry, "archsearch_gpu_hours") == {("team-a", "one"): 1.5, ("team-b", "two"): 2.0}

    metrics.update("team-a/one", status(stage="Retrain"))
    metrics.forget("team-b/two")
    metrics.forget("team-b/never-seen")
    assert series(registry, "archsearch_searches")["Retrain",] == 1
    assert series(registry, "archsearch_searches")["Search",] == 0
    assert series(registry, "archsearch_searches")["Done",] == 0
    assert series(registry, "archsearch_gpu_hours") == {("team-a", "one"): 1.5}
    metrics.forget("team-a/one")
    assert series(registry, "archsearch_gpu_hours") == {}
    assert series(registry, "archsearch_search_best_objective") == {}


def test_a_search_without_a_stage_is_counted(metrics, registry):
    metrics.update("team-a/new", ArchitectureSearchStatus())
    assert series(registry, "archsearch_searches")["None",] == 1
    assert series(registry, "archsearch_search_best_objective") == {}


def test_reconciles_are_counted_by_their_result(metrics, registry):
    assert series(registry, "archsearch_reconcile_total") == {("success",): 0, ("conflict",): 0, ("error",): 0}
    for _ in range(3):
        with metrics.reconciling() as look:
            look.succeeded()
    with pytest.raises(Conflict), metrics.reconciling():
        raise Conflict("x")
    with pytest.raises(ZeroDivisionError), metrics.reconciling():
        1 / 0  # noqa: B018
    with pytest.raises(asyncio.CancelledError), metrics.reconciling():
        raise asyncio.CancelledError
    assert series(registry, "archsearch_reconcile_total") == {("success",): 3, ("conflict",): 1, ("error",): 1}
    assert series(registry, "archsearch_workqueue_retries_total") == {(): 2}
    assert series(registry, "archsearch_reconcile_duration_seconds_count") == {(): 5}
    assert series(registry, "archsearch_reconcile_duration_seconds_bucket")["60.0",] == 5


async def test_the_depth_is_that_of_the_queue(metrics, registry):
    queue = WorkQueue()
    assert series(registry, "archsearch_workqueue_depth") == {(): 0}
    metrics.watch(queue)
    queue.add(Key("team-a", "one"))
    queue.add(Key("team-a", "two"))
    assert series(registry, "archsearch_workqueue_depth") == {(): 2}
    await queue.get()
    assert series(registry, "archsearch_workqueue_depth") == {(): 1}


def test_the_page_is_served_until_it_is_stopped(metrics):
    metrics.update("team-a/one", status())
    server = metrics.serve(0, "127.0.0.1")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            families = {family.name for family in text_string_to_metric_families(answer.read().decode())}
    finally:
        server.stop()
    assert {
        "archsearch_reconcile",
        "archsearch_reconcile_duration_seconds",
        "archsearch_workqueue_depth",
        "archsearch_workqueue_retries",
        "archsearch_searches",
        "archsearch_trials",
        "archsearch_search_best_objective",
        "archsearch_gpu_hours",
        "process_resident_memory_bytes",
    } <= families
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5)


def test_two_operators_in_one_process_do_not_share_metrics():
    first, second = Metrics(), Metrics()
    first.update("team-a/one", status())
    assert series(first.registry, "archsearch_gpu_hours")
    assert not series(second.registry, "archsearch_gpu_hours")
