"""Questions about images: the settings of the task, and of the adversarial step that it can be trained with."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archsearch.api.base import Model, PositiveDecimal
from archsearch.api.metrics import Metric
from archsearch.api.training import Training, VolumeSource


class Adversarial(Model):
    """An adversarial step on embeddings, as in VILLA (Gan et al. 2020): beside each batch as it is, the network learns
    from it with the words' embeddings, and with the image's first features, moved to where its loss is larger."""

    steps: Annotated[int, Field(ge=1, le=8)] = 1
    """Steps along the gradient, each as dear as a training step."""
    step_size: PositiveDecimal = "0.05"
    """Length of a step, as a share of the norm of what is moved, of each example."""
    radius: PositiveDecimal = "0.05"
    """How far it may be moved in all, as such a share."""


class QuestionTraining(Training):
    """The same for questions about images."""

    augmentation: Literal["None", "Shift"] = "None"
    """`Shift`: pad the images by an eighth and crop at random; not where answers depend on places. Nothing is mirrored:
    it would make left of right."""
    adversarial: Adversarial | None = None
    """An adversarial step on embeddings where networks are trained from scratch; none where left out. It trains neither
    shared weights nor the supernets of differentiable search."""


class QuestionDataset(Model):
    """Where the images, questions and answers are."""

    volume: VolumeSource
    """A folder with `train.csv` and `test.csv`, or `.parquet` of these, which have the columns `image` (the name of a
    file), `question` and `answer`, and with a folder `images` of PNG or JPEG files of one size."""


class VisualQuestionAnswering(Model):
    """One of several answers for a question about an image. Metrics: accuracy (a fraction of 1) and loss
    (cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("fusionNetwork",)

    dataset: QuestionDataset
    """The images, the questions and their answers."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training images that is set aside, with all their questions, to choose between architectures. No
    weight and no architecture parameter is ever trained on it. The test part is used only for the final report."""
    training: QuestionTraining = QuestionTraining()
    """How a network is trained from scratch."""
