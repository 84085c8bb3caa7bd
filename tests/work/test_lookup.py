"""Looking architectures up in a table of results, and tables that are wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.spaces import space_of
from archsearch.spaces.nasbench201 import to_string

SPACE = space_of(SpaceSpec(nas_bench201=NasBench201()))
CELLS = [SPACE.at(index) for index in (3, 500, 9000)]
HEAD = "architecture,accuracy_200,loss_200"
LINES = [f'"{to_string(cell)}",{90 + at},{at / 10}' for at, cell in enumerate(CELLS[:2])]


def look(workplace: Any, text: str | bytes, **changed: Any) -> Any:
    folder = workplace.root / "table"
    folder.mkdir(exist_ok=True)
    (folder / "results.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    tabular = {
        "volume": {"claimName": "tables", "path": "results.csv"},
        "columns": [
            {"metric": "accuracy", "column": "accuracy_200", "percent": True},
            {"metric": "loss", "column": "loss_200"},
        ],
    }
    spec = {"architectures": [dict(cell.values) for cell in CELLS]}
    document = workplace.document(
        "Lookup", spec=spec, evaluation={"tabular": tabular | changed}, paths={"table": str(folder)}
    )
    return workplace.run(document)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_each_architecture_gets_its_line_and_one_that_is_not_there_nothing(workplace: Any, packed: bool) -> None:
    text = "\n".join([HEAD, *LINES, '"|foreign~0|",1,1', ""]).encode()
    ending = look(workplace, gzip.compress(text) if packed else text)
    assert ending.code == 0
    assert [dict(result) for result in ending.message.results] == [
        {"accuracy": 0.9, "loss": 0.0},
        {"accuracy": 0.91, "loss": 0.1},
        {},
    ]
    assert "2 of 3 architectures are in the table" in "\n".join(ending.log)


def test_architectures_may_be_written_as_json(workplace: Any) -> None:
    line = '"' + CELLS[2].json().replace('"', '""') + '",95,0.2'
    ending = look(workplace, "\n".join([HEAD, line]))
    assert [dict(result) for result in ending.message.results] == [{}, {}, {"accuracy": 0.95, "loss": 0.2}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("architecture,accuracy_200\n", "has no loss_200"),
        ("", "it has none"),
        ("\n".join([HEAD, LINES[0].replace("90", "many")]), "line 2: accuracy_200 must be a number, but got 'many'"),
        ("\n".join([HEAD, LINES[0].replace("90", "nan")]), "line 2: accuracy_200 must be a number, but got 'nan'"),
        ("\n".join([HEAD, LINES[0].rpartition(",")[0]]), "line 2 must have 3 fields, but has fewer"),
        (b"\xff\xfe\x00", "must be a CSV file"),
        (gzip.compress(HEAD.encode(), mtime=0)[:-9], "must be a CSV file"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_line(workplace: Any, text: str | bytes, said: str) -> None:
    ending = look(workplace, text)
    assert ending.code == 3
    assert said in str(ending.message.error)


def test_a_table_that_is_not_there_or_leads_out_of_its_volume_is_refused(workplace: Any) -> None:
    ending = look(workplace, HEAD, volume={"claimName": "tables", "path": "other.csv"})
    assert ending.code == 3
    assert "evaluation.tabular.volume.path names it in its claim" in str(ending.message.error)
    outside: Path = workplace.root / "secret.csv"
    outside.write_text(HEAD)
    (workplace.root / "table" / "link.csv").symlink_to(outside)
    ending = look(workplace, HEAD, volume={"claimName": "tables", "path": "link.csv"})
    assert ending.code == 3
    assert "must stay inside the volume" in str(ending.message.error)
