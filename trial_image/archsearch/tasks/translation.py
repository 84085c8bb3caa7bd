"""Translation: pairs of texts in four disjoint parts, their tokens, and how well a network translates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from archsearch.api.metrics import Metric
from archsearch.api.signature import Input, Signature
from archsearch.api.task import Translation
from archsearch.tasks.arrays import MEBIBYTE, available_memory
from archsearch.tasks.base import Call, DataError, Meter, Split, TaskData
from archsearch.tasks.pairs import Pairs, PairSet, number_words, read_pairs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLIT_SEED: Final = 0
TOKENIZER: Final = "tokenizer.json"
SPECIAL: Final = ("<pad>", "<unk>", "<s>", "</s>")
PADDING, UNKNOWN, BEGIN, END = range(4)
"""Their ids."""
IGNORED: Final = -100
"""The target at places after the end."""
MIN_SOURCES: Final = 4
"""Different sources for training: one each for the architecture and the selection, and more for the weights."""
TOO_LONG: Final = 0.1
"""The share of training pairs that may be longer than maxTokens; with more, maxTokens is a mistake."""
WORDS: Final = 4
"""Words of the longest n-grams that BLEU counts (Papineni et al. 2002)."""


@dataclass(frozen=True)
class TranslationData(TaskData):
    """Inputs: `source` (N, S), the tokens of a text and END, and `target` (N, T), BEGIN and the tokens of its
    translation; targets (N, T), the same tokens and END, one place earlier, so that each is the answer to what comes
    before it. Shorter ones are filled with PADDING, and IGNORED in the targets."""

    label_smoothing: float = 0.0

    name: ClassVar[str] = "translation"
    metric: ClassVar[Metric] = "bleu"

    @property
    def counts(self) -> int:
        """Right tokens, and all of them."""
        return 2

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of a token, with label smoothing."""
        return functional.cross_entropy(outputs, targets, ignore_index=IGNORED, label_smoothing=self.label_smoothing)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """The same for the teacher's answers. Where it gives zeros there is padding."""
        there = (teacher != 0).any(dim=1)  # (N, T)
        losses = functional.cross_entropy(outputs, torch.softmax(teacher, dim=1), reduction="none")
        return (losses * there).sum() / there.sum().clamp(min=1)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How many tokens are right where all before are given, and how many there are."""
        there = targets != IGNORED
        return torch.stack([((outputs.argmax(1) == targets) & there).sum(), there.sum()])

    def values(self, tally: Tensor) -> dict[str, float]:
        """tokenAccuracy: the share of right tokens."""
        right, count = tally.tolist()
        return {"tokenAccuracy": right / count}

    def reward(self, outputs: Tensor, targets: Tensor) -> float:
        """tokenAccuracy: nothing has to be written for it."""
        return self.values(self.tally(outputs, targets))["tokenAccuracy"]

    def meter(self) -> Meter:
        """One that has the network write."""
        return TranslationMeter(self)


class TranslationMeter(Meter):
    """Has a network write translations, the likeliest token first, and compares them with those of the data.

    bleu: sacrebleu's corpus BLEU with its default tokenizer, as a fraction of 1; where no translation of the data has
    four words, of the n-grams that there are. exactMatch: the share of texts that are equal. loss: the mean of a token.
    """

    def __init__(self, data: TranslationData) -> None:
        super().__init__(data)
        self._tokenizer = _loaded(data.files[TOKENIZER])
        self._written: list[str] = []
        self._expected: list[str] = []
        self._whole: list[bool] = []
        self._lost = 0.0

    def add(self, call: Call, batch: Split) -> None:
        """Run the network on the given answers, and then token by token on its own."""
        assert isinstance(batch.inputs, tuple)  # noqa: S101 - the task has two inputs
        source, target = batch.inputs
        outputs, targets = call(batch.inputs).float(), batch.targets
        self._lost += float(functional.cross_entropy(outputs, targets, ignore_index=IGNORED, reduction="sum"))
        tally = self._data.tally(outputs, targets)
        self._tally = tally if self._tally is None else self._tally + tally
        written = greedy(call, source, target.shape[1])
        for found, kept in (
            (written, self._written),
            (targets.masked_fill(targets == IGNORED, PADDING), self._expected),
        ):
            kept.extend(self._tokenizer.decode_batch([_text(row) for row in found.tolist()], skip_special_tokens=False))
        # Without an end a text is cut: nothing is equal to it.
        self._whole += [END in row for row in targets.tolist()]

    def values(self) -> dict[str, float]:
        """The metrics by name, and `loss`."""
        if self._tally is None:
            raise ValueError("there must be at least one batch to measure, but there was none")
        from sacrebleu.metrics.bleu import BLEU

        longest = max(len(text.split()) for text in self._expected)
        measure = BLEU(max_ngram_order=max(1, min(WORDS, longest)))
        equal = [
            one == other and whole for one, other, whole in zip(self._written, self._expected, self._whole, strict=True)
        ]
        return {
            "bleu": min(measure.corpus_score(self._written, [self._expected]).score / 100, 1.0),  # but for rounding
            "exactMatch": sum(equal) / len(equal),
            **self._data.values(self._tally),
            "loss": self._lost / int(self._tally[1]),
        }


@torch.no_grad()
def greedy(call: Call, source: Tensor, length: int) -> Tensor:
    """What a network writes for each source (N, S), at each place the likeliest token: (N, length).

    After END there is PADDING. A network never writes PADDING, UNKNOWN or BEGIN. It is called with the whole length
    every time, as its signature says, but only for texts that have not ended.
    """
    written = torch.full((len(source), length), PADDING, dtype=torch.int64, device=source.device)
    going = torch.arange(len(source), device=source.device)
    begin = torch.full((len(source), 1), BEGIN, dtype=torch.int64, device=source.device)
    for place in range(length):
        before = torch.cat([begin[going], written[going, :-1]], dim=1)
        scores = call((source[going], before))[:, :, place].float()
        scores[:, [PADDING, UNKNOWN, BEGIN]] = -torch.inf
        written[going, place] = scores.argmax(1)
        going = going[written[going, place] != END]
        if not len(going):
            break
    return written


def load_translation(task: Translation, data: Path | None, seed: int = SPLIT_SEED) -> TranslationData:
    """Read the data set, split it and cut it into tokens.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. Raises DataError with the file, what is wrong, the value and what to do.
    """
    volume = task.dataset.volume
    read = number_words(task.number_words) if volume is None else read_pairs(volume, data)
    parts = split(read, task.selection_percent, seed)
    trained = [text for part in ("weights", "architecture") for pair in parts[part] for text in pair]
    tokenizer = train_tokenizer(trained, task.vocabulary)
    tokens = {name: _tokens(tokenizer, pairs) for name, pairs in parts.items()}
    for name in ("weights", "architecture"):
        tokens[name] = _short_enough(tokens[name], task.max_tokens, read.origin)
    lengths = [
        min(task.max_tokens, max(len(pair[side]) for pairs in tokens.values() for pair in pairs) + 1) for side in (0, 1)
    ]
    needed, there = 8 * sum(map(len, tokens.values())) * (lengths[0] + 2 * lengths[1]), available_memory()
    if needed > there:
        raise DataError(
            f"{read.origin}: the tokens must fit into the memory of {there // MEBIBYTE:,} MiB, but take "
            f"{needed // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, or lower maxTokens"
        )
    size = tokenizer.get_vocab_size()
    made = {name: _split(pairs, *lengths) for name, pairs in tokens.items()}
    inputs = tuple(
        Input(name=name, shape=(length,), vocabulary=size)
        for name, length in zip(("source", "target"), lengths, strict=True)
    )
    return TranslationData(
        Signature(inputs=inputs, outputs="Tokens", classes=size),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=made["test"],
        files={TOKENIZER: tokenizer.to_str().encode()},
        label_smoothing=float(task.training.label_smoothing),
    )


def split(read: PairSet, selection_percent: int, seed: int) -> dict[str, Pairs]:
    """The pairs by purpose: `weights`, `architecture`, `selection` and `test`, which share no source.

    Training pairs are drawn by their sources: selection_percent of these (at least one) go to the selection, the rest
    in halves to the others. Those with a source of the test are left out.
    """
    tested = {source for source, _ in read.test}
    by_source: dict[str, Pairs] = {}
    for pair in read.train:
        if pair[0] not in tested:
            by_source.setdefault(pair[0], []).append(pair)
    if len(by_source) < MIN_SOURCES:
        raise DataError(
            f"{read.origin}: there must be at least {MIN_SOURCES} different sources for training that are not in the "
            f"test, but got {len(by_source)}; add pairs"
        )
    sources = list(by_source)
    order = np.random.default_rng(seed).permutation(len(sources)).tolist()
    chosen = max(1, round(len(sources) * selection_percent / 100))
    half = chosen + (len(sources) - chosen + 1) // 2
    index = {"weights": order[chosen:half], "architecture": order[half:], "selection": order[:chosen]}
    parts = {name: [pair for at in places for pair in by_source[sources[at]]] for name, places in index.items()}
    return {**parts, "test": read.test}


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte pair encoding within words, punctuation marks and single figures, with the tokens of SPECIAL first.

    Equal texts give equal tokenizers. Decoding gives back every text whose characters were in the training texts.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Metaspace()
    # The rarest characters of a large alphabet are UNKNOWN, so that there is room for parts of words.
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), limit_alphabet=max(1, vocabulary // 2), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _loaded(content: bytes) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(content.decode())


def _tokens(tokenizer: Tokenizer, pairs: Pairs) -> list[tuple[list[int], list[int]]]:
    tokenizer.encode_special_tokens = True  # a text that holds "<s>" means these three characters
    sides = [
        [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        for texts in zip(*pairs, strict=True)
    ]
    return list(zip(*sides, strict=True))


def _short_enough(
    tokens: list[tuple[list[int], list[int]]], most: int, origin: str
) -> list[tuple[list[int], list[int]]]:
    """The pairs whose texts have at most so many tokens with END. DataError where too few have."""
    kept = [pair for pair in tokens if max(map(len, pair)) < most]
    if len(kept) < max(1.0, (1 - TOO_LONG) * len(tokens)):
        longest = max(len(text) for pair in tokens for text in pair) + 1
        raise DataError(
            f"{origin}: at most a tenth of the training pairs may have more tokens than maxTokens, but of "
            f"{len(tokens)} have {len(tokens) - len(kept)} more than {most}, up to {longest}; raise maxTokens or "
            "vocabulary"
        )
    return kept


def _split(tokens: list[tuple[list[int], list[int]]], source_length: int, target_length: int) -> Split:
    source = np.full((len(tokens), source_length), PADDING, dtype=np.int64)
    target = np.full((len(tokens), target_length), PADDING, dtype=np.int64)
    answers = np.full((len(tokens), target_length), IGNORED, dtype=np.int64)
    for row, (read, written) in enumerate(tokens):
        for into, ids in ((source, [*read, END]), (target, [BEGIN, *written]), (answers, [*written, END])):
            cut = ids[: into.shape[1]]
            into[row, : len(cut)] = cut
    return Split((torch.from_numpy(source), torch.from_numpy(target)), torch.from_numpy(answers))


def _text(row: Sequence[int]) -> list[int]:
    """The tokens before the end."""
    end = next((place for place, token in enumerate(row) if token in (END, PADDING)), len(row))
    return list(row[:end])
