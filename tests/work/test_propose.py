"""A searcher of the user's own image: what it is told, what it may answer, and what is wrong with the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from archsearch.api import ArchitectureSearchSpec, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.planning import History, resolve
from archsearch.planning.evidence import pack
from archsearch.spaces import space_of

SPACE = space_of(SpaceSpec(nas_bench201=NasBench201()))
SPEC = resolve(
    ArchitectureSearchSpec.model_validate(
        {
            "task": {"imageClassification": {"dataset": {"builtin": "digits"}}},
            "space": {"nasBench201": {}},
            "algorithm": {"custom": {"module": "mine.search:Counting"}},
            "budget": {"maxTrials": 9},
        }
    ),
    "image",
)
SEARCHERS = '''
from archsearch.searchers import Proposal

class Counting:
    """Proposes the architectures in order, from `start` on."""
    def __init__(self, space, seed, settings):
        self.space, self.start = space, int(settings.get("start", 0))
    def ask(self, evidence):
        at = self.start + len(evidence.proposed)
        return Proposal(self.space.at(at)) if at < 104 else None

class Stubborn(Counting):
    def ask(self, evidence):
        return self.space.at(7)

class Mute(Counting):
    ask = None

class Wordy(Counting):
    def ask(self, evidence):
        return "cell/1/0"

number = 7
'''


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's image has a package `mine`."""
    (tmp_path / "code" / "mine").mkdir(parents=True)
    (tmp_path / "code" / "mine" / "__init__.py").write_text("")
    (tmp_path / "code" / "mine" / "search.py").write_text(SEARCHERS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    for name in ("mine", "mine.search"):
        sys.modules.pop(name, None)


def propose(workplace: Any, module: str = "mine.search:Counting", evidence: str | None = None, **settings: str) -> Any:
    history = History(SPEC)
    history.proposed = [SPACE.at(100), SPACE.at(101)]
    algorithm = {"custom": {"module": module, "settings": settings, "proposalsPerJob": 3}}
    text = pack(history, SPACE, 0) if evidence is None else evidence
    return workplace.run(
        workplace.document("Propose", space={"nasBench201": {}}, algorithm=algorithm, evidence=text, evaluation=None)
    )


def test_it_is_asked_as_often_as_a_job_proposes_and_knows_what_is_pending(workplace: Any) -> None:
    ending = propose(workplace, start="50")
    assert ending.code == 0, ending.log
    assert ending.message.proposals == ("52", "53", "54")


def test_it_may_have_fewer_or_none(workplace: Any) -> None:
    assert propose(workplace, start="100").message.proposals == ("102", "103")
    assert propose(workplace, start="200").message.proposals == ()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("mine.search:Stubborn", "must not propose"),
        ("mine.search:Mute", "must have a method ask(evidence), but has none"),
        ("mine.search:Wordy", "must return a Proposal, an Architecture or None, but got str"),
        ("mine.search:number", "must be a class, but is a int"),
        ("mine.search:Missing", "mine.search has no Missing"),
        ("mine.other:Counting", "mine.other cannot be imported in the trial image"),
    ],
)
def test_one_that_does_not_keep_the_contract_is_the_users_error(workplace: Any, module: str, said: str) -> None:
    ending = propose(workplace, module)
    assert ending.code == 3
    assert said in str(ending.message.error)
    assert "algorithm.custom.module" in str(ending.message.error)


def test_evidence_that_is_none_is_refused(workplace: Any) -> None:
    ending = propose(workplace, evidence="garbage")
    assert ending.code == 3
    assert "evidence must be what the operator packed" in str(ending.message.error)
