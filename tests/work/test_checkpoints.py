"""Checkpoints are whole or not used; an interruption at any step changes nothing in the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from archsearch.evaluation import State
from archsearch.work import loop
from archsearch.work.checkpoint import BadCheckpoint, Checkpoints, Identity, decode, encode

if TYPE_CHECKING:
    from tests.work.conftest import Stopping, Workplace

MINE = Identity("team/digits", "digits-abcde-3", "a" * 64)


def state(number: float = 1.0) -> State:
    wide = torch.arange(12.0).view(3, 4) * number
    tensors = {
        "plain": wide, "view": wide[1:], "transposed": wide.T, "scalar": torch.tensor(number, dtype=torch.float64),
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8), "counter": torch.tensor(3), "empty": torch.empty(0),
    }  # fmt: skip
    return tensors, {"epoch": 3, "values": [{"accuracy": 0.1 + 0.2}], "number": number}


def same(one: State, other: State) -> bool:
    return one[1] == other[1] and one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][name], other[0][name]) and one[0][name].dtype == other[0][name].dtype for name in one[0]
    )  # fmt: skip


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def checkpoints(tmp_path: Path, said: list[str]) -> Checkpoints:
    return Checkpoints(tmp_path / "trial" / "checkpoint", MINE, said.append)


def test_a_state_comes_back_bit_for_bit(checkpoints: Checkpoints) -> None:
    saved = state()
    assert checkpoints.load() is None
    assert checkpoints.save(saved)
    loaded = checkpoints.load()
    assert loaded is not None
    assert same(saved, loaded)


def test_the_newest_one_counts_and_the_one_before_is_kept(checkpoints: Checkpoints, said: list[str]) -> None:
    for number in (1.0, 2.0, 3.0):
        checkpoints.save(state(number))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["current", "previous"]
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[1]["number"] == 3.0
    (checkpoints.folder / "current").write_bytes(b"")
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[1]["number"] == 2.0
    assert "is not used" in said[0]
    assert (checkpoints.folder / "current.bad").exists()


def test_a_crash_between_the_renames_loses_nothing(checkpoints: Checkpoints) -> None:
    checkpoints.save(state(1.0))
    (checkpoints.folder / "current").rename(checkpoints.folder / "previous")
    (checkpoints.folder / "fresh").write_bytes(encode(state(2.0), MINE))
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[1]["number"] == 2.0


def test_every_cut_and_every_flipped_bit_is_noticed() -> None:
    content = encode(state(), MINE)
    assert same(decode(content, MINE), decode(content, MINE))
    for length in range(0, len(content), 7):
        with pytest.raises(BadCheckpoint):
            decode(content[:length], MINE)
    for place in range(0, len(content), 11):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises(BadCheckpoint):
            decode(bytes(changed), MINE)
    with pytest.raises(BadCheckpoint, match="torn or corrupted"):
        decode(content + b"x", MINE)


@pytest.mark.parametrize("field", ["search", "trial", "work"])
def test_another_works_checkpoint_is_refused(field: str) -> None:
    other = Identity(**{**MINE.__dict__, field: "other"})
    with pytest.raises(BadCheckpoint, match=f"is of another {field}: other"):
        decode(encode(state(), other), MINE)


def test_what_is_no_checkpoint_is_never_unpickled(checkpoints: Checkpoints, said: list[str], tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    checkpoints.folder.mkdir(parents=True)
    torch.save({"weights": Trap()}, checkpoints.folder / "current")
    assert checkpoints.load() is None
    assert not (tmp_path / "sprung").exists()
    assert "must start with" in said[0]


def test_a_folder_that_cannot_be_written_is_said_and_survived(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "trial").write_text("a file")
    assert not Checkpoints(tmp_path / "trial" / "checkpoint", MINE, said.append).save(state())
    assert "cannot be written" in said[0]


def test_numbers_that_are_not_finite_are_no_checkpoint() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(({}, {"loss": float("nan")}), MINE)


DARTS = {"differentiable": {"order": "Second", "epochs": 2, "batchSize": 128}}
KINDS: list[tuple[str, dict[str, Any]]] = [("Train", {}), ("Retrain", {}), ("Supernet", {"algorithm": DARTS})]


@pytest.mark.parametrize(("kind", "changed"), KINDS)
def test_an_interruption_at_any_step_changes_nothing(
    workplace: Workplace, cell: dict[str, Any], stopping: type[Stopping], kind: str, changed: dict[str, Any]
) -> None:
    spec = {} if kind == "Supernet" else {"architecture": cell, "epochs": 2}
    document = workplace.document(kind, spec=spec, **changed)
    whole = workplace.run(document)
    assert whole.code == 0

    interruptions = 0
    while (ending := workplace.run(document, stopping(after=7))).code == 143:
        assert ending.text == ""
        assert "saved" in " ".join(ending.log)
        interruptions += 1
        assert interruptions < 40
    assert interruptions >= 2
    assert ending.code == 0
    assert any("going on from a checkpoint" in line for line in ending.log)
    assert ending.text == whole.text  # metrics, curve, architecture and the weights' sha256
    assert not list(workplace.root.rglob("checkpoint"))


def test_a_crash_loses_only_what_came_after_the_last_checkpoint(
    workplace: Workplace, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from archsearch.evaluation import evaluate
    from archsearch.work import train

    document = workplace.document("Train", spec={"architecture": cell, "epochs": 3})
    whole = workplace.run(document)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    calls = 0

    def failing(*arguments: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the node is gone")
        return evaluate(*arguments)

    monkeypatch.setattr(train, "evaluate", failing)
    crashed = workplace.run(document)
    assert crashed.code == 1
    assert crashed.log[-1] == "crashed: RuntimeError: the node is gone"
    resumed = workplace.run(document)
    assert any(line.startswith("going on from a checkpoint: 1 of 3 epochs") for line in resumed.log)
    assert resumed.text == whole.text


@pytest.mark.parametrize("change", [{"seed": 12}, {"epochs": 3}])
def test_a_checkpoint_of_other_work_under_the_same_name_is_set_aside(
    workplace: Workplace, cell: dict[str, Any], stopping: type[Stopping], change: dict[str, int]
) -> None:
    assert workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 2}), stopping(9)).code == 143
    ending = workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 2} | change))
    assert ending.code == 0
    assert any("it is of another work" in line for line in ending.log)
    fresh = workplace.run(workplace.document("Train", spec={"architecture": cell, "epochs": 2} | change))
    assert ending.text == fresh.text


def test_a_checkpoint_that_does_not_fit_the_network_is_set_aside(
    workplace: Workplace, cell: dict[str, Any], stopping: type[Stopping]
) -> None:
    """As after an upgrade of the image in the middle of a trial."""
    from archsearch.api.work import Work
    from archsearch.work.checkpoint import identity_of

    document = workplace.document("Train", spec={"architecture": cell, "epochs": 2})
    whole = workplace.run(document)
    assert workplace.run(document, stopping(9)).code == 143
    current = workplace.artifacts / "digits-abcde-3" / "checkpoint" / "current"
    identity = identity_of(Work.model_validate(document))
    tensors, values = decode(current.read_bytes(), identity)
    renamed = {name.replace("network/", "network/module."): tensor for name, tensor in tensors.items()}
    current.write_bytes(encode((renamed, values), identity))
    ending = workplace.run(document)
    assert any("is not used: the weights must hold" in line for line in ending.log)
    assert ending.text == whole.text


def test_without_a_volume_the_checkpoint_is_in_the_pods_own_folder(
    workplace: Workplace, cell: dict[str, Any], stopping: type[Stopping]
) -> None:
    document = workplace.document("Train", artifacts=False, spec={"architecture": cell, "epochs": 2})
    assert workplace.run(document, stopping(9)).code == 143
    assert (workplace.root / "digits-abcde-3" / "checkpoint" / "current").exists()
    assert workplace.run(document).code == 0
    assert not (workplace.root / "digits-abcde-3").exists()
