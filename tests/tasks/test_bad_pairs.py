"""Tables of pairs that cannot be used: each message names the file, what is wrong, the value and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from archsearch.api.task import Task
from archsearch.tasks import DataError, load
from archsearch.tasks import arrays as arrays_module

PAIRS = [(f"text {number}", f"satz {number}") for number in range(40)]


def table(pairs: list[tuple[Any, Any]], names: tuple[str, str] = ("source", "target")) -> pa.Table:
    columns = zip(*pairs, strict=True)
    return pa.table({name: pa.array(list(column)) for name, column in zip(names, columns, strict=True)})


def write(folder: Path, train: pa.Table | None = None, test: pa.Table | None = None, kind: str = "csv") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in (("train", train), ("test", test)):
        content = table(PAIRS[:30] if part == "train" else PAIRS[30:]) if content is None else content
        if kind == "csv":
            csv.write_csv(content, folder / f"{part}.csv")
        else:
            parquet.write_table(content, folder / f"{part}.parquet")


def read(root: Path | None, path: str = "", **settings: Any) -> Any:
    volume = {"volume": {"claimName": "data", "path": path}}
    return load(Task.model_validate({"translation": {"dataset": volume, "vocabulary": 64, **settings}}), root)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_of_both_kinds_are_read(tmp_path: Path, kind: str) -> None:
    more = [*PAIRS[:29], ('a "text", of\ntwo lines', "ein Satz, mit Komma")]
    write(tmp_path / "a" / "b", table(more), kind=kind)
    data = read(tmp_path, "a/b")
    assert [len(getattr(data, part)) for part in ("weights", "architecture", "selection", "test")] == [14, 13, 3, 10]


def test_every_word_is_a_text(tmp_path: Path) -> None:
    """Words that other readers take for something else, and those that stand for special tokens."""
    strange = [("NA", "null"), ("1", "2.5"), ("true", "<s>"), ("<pad> x", "nan")]
    write(tmp_path, table([*PAIRS[:26], *strange]), table([("<s>", "<pad>")]))
    data = read(tmp_path)
    assert len(data.training) == 27
    source = data.test.inputs[0]
    assert not {0, 2, 3} & set(source[0, : int((source[0] == 3).nonzero())].tolist())
    assert data.test.targets[0, 0] > 3


def test_other_columns_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, table(PAIRS[:30]).append_column("id", pa.array(range(30))))
    assert len(read(tmp_path).training) == 27


def test_large_strings_are_texts_too(tmp_path: Path) -> None:
    kind = pa.schema([("source", pa.large_string()), ("target", pa.large_string())])
    write(tmp_path, table(PAIRS[:30]).cast(kind), kind="parquet")
    assert len(read(tmp_path).training) == 27


def no_folder(root: Path) -> None:
    (root / "empty").mkdir()


def only_train(root: Path) -> None:
    write(root)
    (root / "test.csv").unlink()


def both_kinds(root: Path) -> None:
    write(root)
    write(root, kind="parquet")


def no_table(root: Path) -> None:
    write(root)
    (root / "train.csv").unlink()
    (root / "train.parquet").write_bytes(b"not parquet at all")


def latin(root: Path) -> None:
    write(root)
    (root / "train.csv").write_bytes("source,target\ngrün,green\n".encode("latin-1"))


def ragged(root: Path) -> None:
    write(root)
    (root / "train.csv").write_text("source,target\na,b,c\n")


def no_rows(root: Path) -> None:
    write(root)
    (root / "train.csv").write_text("source,target\n")


def nothing_in_it(root: Path) -> None:
    write(root)
    (root / "train.csv").write_text("")


def link_out(root: Path) -> None:
    write(root.parent / "outside")
    write(root)
    (root / "train.csv").unlink()
    (root / "train.csv").symlink_to(root.parent / "outside" / "train.csv")


def a_folder_for_a_table(root: Path) -> None:
    write(root)
    (root / "train.csv").unlink()
    (root / "train.csv").mkdir()


def writer(**content: Any) -> Callable[[Path], None]:
    return lambda root: write(root, **content)


LONG = "ab " * 40_000
CASES: list[tuple[str, Callable[[Path], None], str]] = [
    ("no tables", no_folder, "must hold train.csv or train.parquet, but has neither (it has empty)"),
    ("no test", only_train, "must hold test.csv or test.parquet, but has neither (it has train.csv)"),
    ("two kinds", both_kinds, "must hold train.csv or train.parquet, but has both"),
    ("no Parquet", no_table, "train.parquet: must be a parquet file in UTF-8, but cannot"),
    ("another encoding", latin, "train.csv: must be a csv file in UTF-8, but cannot be read as one"),
    ("a row of three", ragged, "train.csv: must be a csv file in UTF-8, but cannot be read as one"),
    ("an empty file", nothing_in_it, "train.csv: must have a first line with the names of the columns, but has none"),
    ("no rows", no_rows, "train.csv: must have at least one row, but has none"),
    ("a link out", link_out, "train.csv: a table must stay inside the volume, but it leads to"),
    ("a folder", a_folder_for_a_table, "train.csv: must be a table, but is no regular file; remove it"),
    ("no column", writer(train=table(PAIRS, ("source", "goal"))),
     "train.csv: must have the column target once, but has it 0 times (it has the columns source, goal)"),
    ("an empty text", writer(train=table([*PAIRS[:3], ("x", " ")])),
     "train.csv: target must not be empty, but is so in row 4; fill it in or remove the row"),
    ("no text", writer(train=table([("x", "y"), (None, "y")]), kind="parquet"),
     "train.parquet: source must not be empty, but is so in row 2"),
    ("numbers", writer(test=table([(1.5, "eins")]), kind="parquet"),
     "test.parquet: source must hold words or integers, but is of the type double; convert it"),
    ("a book", writer(train=table([(LONG, "y")])),
     "train.csv: source must have at most 100,000 characters, but row 1 has 120,000; split it"),
    ("too few", writer(train=table(PAIRS[:3])),
     "there must be at least 4 different sources for training that are not in the test, but got 3; add pairs"),
    ("the test for training", writer(train=table(PAIRS[:10]), test=table(PAIRS[:8])),
     "there must be at least 4 different sources for training that are not in the test, but got 2; add pairs"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_tables_that_cannot_be_used_are_told(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    make(root)
    with pytest.raises(DataError) as caught:
        read(root)
    assert said in str(caught.value)


def test_texts_that_are_too_long_are_told(tmp_path: Path) -> None:
    long = " ".join("xyzw"[number % 4] for number in range(30))
    write(tmp_path, table([*PAIRS[:27], *((f"{long} {number}", "y") for number in range(8))]))
    with pytest.raises(
        DataError, match=r"at most a tenth of the training pairs .* maxTokens, but of \d+ have \d+ more"
    ):
        read(tmp_path, maxTokens=20)
    assert read(tmp_path, maxTokens=64).signature.inputs[0].shape[0] <= 64
    # A few are left out.
    write(tmp_path, table([*PAIRS[:29], (long, "y")]))
    assert len(read(tmp_path, maxTokens=20).training) in (26, 27)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_does_not_fit_into_memory_is_not_read(tmp_path: Path, monkeypatch: Any, kind: str) -> None:
    write(tmp_path, kind=kind)
    limit = tmp_path / "memory.max"
    limit.write_text("100")
    monkeypatch.setattr(arrays_module, "CGROUP_LIMIT", limit)
    with pytest.raises(DataError, match=rf"train\.{kind}: must fit into the memory"):
        read(tmp_path)


def test_a_volume_must_be_mounted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the claim data must be mounted, but the trial has no data folder"):
        read(None)
    with pytest.raises(DataError, match="the claim data must be mounted here, but there is no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere: does not exist; .* must name a folder with a train and a test"):
        read(tmp_path, "nowhere")
