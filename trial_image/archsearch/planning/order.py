"""What a trial's process is given: the one document that says all there is to do, wherever the process runs."""

from __future__ import annotations

from archsearch.api.trial import MEASURING_KINDS, Trial
from archsearch.api.work import SCRAPE_SECONDS, Paths, Work
from archsearch.planning.evidence import pack
from archsearch.planning.history import History
from archsearch.planning.model import Search
from archsearch.planning.pipeline import wanted_profile
from archsearch.spaces import space_of


def work_of(search: Search, trial: Trial, paths: Paths, history: History) -> Work:
    """The work of a trial. paths: the folders as its process sees them. history: what a searcher is told of."""
    spec = search.spec
    assert spec.space is not None  # noqa: S101 - the spec is resolved
    assert spec.algorithm is not None  # noqa: S101
    assert spec.export is not None  # noqa: S101
    return Work(
        search=f"{search.namespace}/{search.name}",
        trial=trial.name,
        spec=trial.spec,
        task=spec.task,
        space=spec.space,
        algorithm=spec.algorithm,
        evaluation=spec.evaluation,
        objectives=spec.objectives or (),
        constraints=spec.constraints,
        profiles=spec.profiles,
        profile=wanted_profile(search, trial.spec.profile),
        export=spec.export,
        evidence=pack(history, space_of(spec.space), trial.spec.observed) if trial.spec.work == "Propose" else "",
        paths=paths,
        scrape_timeout_seconds=SCRAPE_SECONDS if trial.spec.work in MEASURING_KINDS else 0,
    )


def paths_of(search: Search, data: str, artifacts: str, table: str) -> Paths:
    """The folders of a search: where the volumes are; unused where the spec names no claim for them.

    The search's uid keeps one that is made anew under an old name apart from the old one's files.
    """
    found = Paths(
        data=None if data_claim(search) is None else data, table=None if table_claim(search) is None else table
    )
    if (claimed := search.spec.artifacts) is None:
        return found
    folder = "/".join(part for part in (claimed.path, f"{search.name}-{search.uid[:5]}") if part)
    return found.model_copy(
        update={"artifacts": f"{artifacts}/{folder}", "artifacts_uri": f"pvc://{claimed.claim_name}/{folder}"}
    )


def data_claim(search: Search) -> str | None:
    """The claim that holds the data; None for a data set that the image carries."""
    volume = search.spec.task.claim
    return None if volume is None else str(volume.claim_name)


def table_claim(search: Search) -> str | None:
    """The claim that holds a table of results; None where architectures are not looked up."""
    evaluation = search.spec.evaluation
    return evaluation.tabular.volume.claim_name if evaluation and evaluation.tabular else None
