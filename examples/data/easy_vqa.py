"""Convert easy-VQA (5,000 images of a coloured shape, 48,248 questions, 13 answers) for examples/multimodal.yaml.

    python examples/data/easy_vqa.py easy_vqa.npz data/easy_vqa --size 32

The .npz file has train_images (N, 64, 64, 3), train_questions, train_answers and train_image_id, the place of each
question's image, and the same of test. What is written is what the task visualQuestionAnswering reads: train.csv and
test.csv with the columns image, question and answer, and a folder of PNG files.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    """Write both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="easy_vqa.npz")
    parser.add_argument("target", type=Path, help="the folder to write")
    parser.add_argument("--size", type=int, default=64, help="height and width of the images (default 64)")
    parser.add_argument("--train", type=int, default=4000, help="the first so many training images (default all)")
    parser.add_argument("--test", type=int, default=1000, help="the first so many test images (default all)")
    arguments = parser.parse_args()
    images = arguments.target / "images"
    images.mkdir(parents=True, exist_ok=True)
    with np.load(arguments.source, allow_pickle=False) as arrays:
        for part, count in (("train", arguments.train), ("test", arguments.test)):
            for number, pixels in enumerate(arrays[f"{part}_images"][:count]):
                image = Image.fromarray(pixels)
                if image.size != (arguments.size, arguments.size):
                    image = image.resize((arguments.size, arguments.size), Image.Resampling.BOX)
                image.save(images / f"{part}-{number:04}.png")
            columns = (arrays[f"{part}_{name}"].tolist() for name in ("image_id", "questions", "answers"))
            with (arguments.target / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["image", "question", "answer"])
                for number, question, answer in zip(*columns, strict=True):
                    if number < count:
                        writer.writerow([f"{part}-{number:04}.png", question, answer])


if __name__ == "__main__":
    main()
