"""The blood cells of BCCD (364 images of 320x240 pixels, three classes) as a task reads them: in the format of COCO.

    python examples/data/blood_cells.py bccd_half.npz FOLDER

The input holds the images as JPEG bytes one after the other (`jpeg`, `lengths`), which of the published parts each is
in (`split`: 0 to train with, 1 to validate, 2 to test), and `boxes`: image, class, left, top, right, bottom.
FOLDER/cells is what `path` names in examples/detection.yaml. Images to train with and to validate become train.json.
"""

import json
import sys
from pathlib import Path

import numpy as np

TEST = 2
WIDTH, HEIGHT = 320, 240

source, folder = Path(sys.argv[1]), Path(sys.argv[2]) / "cells"
with np.load(source, allow_pickle=False) as found:
    jpeg, lengths, ids, split = (found[name] for name in ("jpeg", "lengths", "ids", "split"))
    boxes, classes = found["boxes"], found["classes"]
(folder / "images").mkdir(parents=True, exist_ok=True)
ends = np.cumsum(lengths)
for name, end, length in zip(ids, ends, lengths, strict=True):
    (folder / "images" / f"{name}.jpg").write_bytes(jpeg[end - length : end].tobytes())
categories = [{"id": number, "name": str(name)} for number, name in enumerate(classes, 1)]
for part, chosen in (("train", split != TEST), ("test", split == TEST)):
    images = [
        {"id": int(at), "file_name": f"{ids[at]}.jpg", "width": WIDTH, "height": HEIGHT}
        for at in np.flatnonzero(chosen)
    ]
    annotations = []
    for image, label, left, top, right, bottom in boxes[chosen[boxes[:, 0].astype(int)]].tolist():
        if right > left and bottom > top:  # two of the published boxes have no width or height
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": int(image), "category_id": int(label) + 1, "bbox": box}
            )
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{part}.json").write_text(json.dumps(content))
    print(f"{folder / part}.json: {len(images)} images, {len(annotations)} boxes")
