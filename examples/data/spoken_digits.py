"""Convert the free spoken digits (FSDD, 3,000 recordings at 8 kHz, CC BY-SA 4.0) to folders of recordings.

    python spoken_digits.py fsdd_8khz.npz FOLDER

The first holds the arrays `signal` (int16, all recordings after each other), `lengths`, `label` (0 to 9), `speaker`,
`speakers` (their names), `index` and `is_test`. FOLDER gets `train/DIGIT/*.wav` and `test/DIGIT/*.wav`; give it to the
claim of examples/speech.yaml: `archsearch run ... --volume data=FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.io import wavfile

RATE = 8000


def main(source: str, folder: str) -> None:
    """Write the recordings."""
    data = np.load(source, allow_pickle=False)
    waves = np.split(data["signal"], np.cumsum(data["lengths"])[:-1])
    for number, wave in enumerate(waves):
        label, speaker = data["label"][number], data["speakers"][data["speaker"][number]]
        part = Path(folder) / ("test" if data["is_test"][number] else "train") / str(label)
        part.mkdir(parents=True, exist_ok=True)
        wavfile.write(part / f"{label}_{speaker}_{data['index'][number]}.wav", RATE, wave)
    print(f"{len(waves)} recordings, {int(data['is_test'].sum())} of them to test with")


if __name__ == "__main__":
    main(*sys.argv[1:])
