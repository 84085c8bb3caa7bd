"""Convert TREC-6 (Li and Roth 2002: questions and what kind of answer they ask for) to two tables.

    python trec6.py trec6.csv.gz FOLDER

The first is a CSV file, compressed or not, with the columns split (train or test), label (0 to 5) and text. FOLDER gets
`train.csv` and `test.csv`; give it to the claim of examples/text.yaml: `archsearch run ... --volume data=FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyarrow import csv

NAMES = ("description", "entity", "abbreviation", "human", "location", "number")
"""Of the labels."""


def main(source: str, folder: str) -> None:
    """Write the two tables."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = csv.read_csv(source).to_pylist()
    for part in ("train", "test"):
        lines = [(row["text"], NAMES[row["label"]]) for row in rows if row["split"] == part]
        with (Path(folder) / f"{part}.csv").open("w", encoding="utf-8") as file:
            file.write("text,label\n")
            file.writelines('"{}",{}\n'.format(text.replace('"', '""'), label) for text, label in lines)
        print(f"{part}.csv: {len(lines)} questions")


if __name__ == "__main__":
    main(*sys.argv[1:])
