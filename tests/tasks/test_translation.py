"""Pairs of texts: disjoint parts, tokens that give the text back, and measures that are right by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from torch import Tensor, nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.task import Task
from archsearch.api.translation import NumberWords
from archsearch.evaluation import Trainer, evaluate
from archsearch.networks import SpaceNetwork, network
from archsearch.networks.inputs import Inputs
from archsearch.spaces import space_of
from archsearch.tasks import Split, TranslationData, load
from archsearch.tasks.pairs import PairSet, number_words
from archsearch.tasks.translation import (
    BEGIN,
    END,
    IGNORED,
    PADDING,
    SPECIAL,
    TOKENIZER,
    UNKNOWN,
    greedy,
    split,
    train_tokenizer,
)

PARTS = ("weights", "architecture", "selection", "test")
SMALL = {
    "widths": [16], "encoderDepths": [1], "decoderDepths": [1], "feedForward": [32], "heads": [2], "headChannels": 8,
    "attends": [1], "search": {"widthPercent": 100},
}  # fmt: skip


def task(**settings: Any) -> Task:
    numbers = {"pairs": 400, "largest": 999, **settings.pop("numberWords", {})}
    return Task.model_validate(
        {"translation": {"dataset": {"builtin": "numberWords"}, "numberWords": numbers, "vocabulary": 64, **settings}}
    )


def built(data: TranslationData, **settings: Any) -> SpaceNetwork:
    space = space_of(SpaceSpec.model_validate({"elasticTransformer": SMALL | settings}))
    torch.manual_seed(0)
    return network(space, space.at(0), stack="search", signature=data.signature)


@pytest.fixture(scope="module")
def data() -> TranslationData:
    found = load(task(), None)
    assert isinstance(found, TranslationData)
    return found


def texts(data: TranslationData, part: Split, side: int) -> list[str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(data.files[TOKENIZER].decode())
    assert isinstance(part.inputs, tuple)
    return tokenizer.decode_batch(part.inputs[side].tolist())


def test_number_words_are_different_numbers_in_two_languages_and_always_the_same() -> None:
    read = number_words(NumberWords(pairs=300, largest=999))
    assert read == number_words(NumberWords(pairs=300, largest=999))
    assert (len(read.train), len(read.test)) == (270, 30)
    assert len({*read.train, *read.test}) == 300
    words = dict(number_words(NumberWords(pairs=999, largest=999, source="digits", target="en")).train)
    assert words["365"] == "three hundred and sixty-five"
    german = dict(number_words(NumberWords(pairs=999, largest=999, source="digits", target="de")).train)
    assert german["365"] == "dreihundertfünfundsechzig"


def test_no_source_is_in_two_parts(data: TranslationData) -> None:
    sources = [texts(data, getattr(data, part), 0) for part in PARTS]
    assert [len(part) for part in sources] == [162, 162, 36, 40]
    assert len({source for part in sources for source in part}) == 400


def test_pairs_of_one_source_stay_together_and_those_of_the_test_are_left_out() -> None:
    train = [(source, f"{source}{copy}") for source in "abcdefghij" for copy in "123"]
    parts = split(PairSet(train, [("a", "x"), ("z", "y")], "here"), 20, 0)
    sources = {name: {source for source, _ in pairs} for name, pairs in parts.items()}
    assert [len(sources[name]) for name in PARTS] == [4, 3, 2, 2]
    assert set.union(*(sources[name] for name in PARTS[:3])) == set("bcdefghij")
    assert sum(len(sources[name]) for name in PARTS) == len(set.union(*sources.values()))
    assert sum(map(len, parts.values())) == 27 + 2
    assert parts == split(PairSet(train, [("a", "x"), ("z", "y")], "here"), 20, 0)
    assert parts != split(PairSet(train, [("a", "x"), ("z", "y")], "here"), 20, 1)


def test_the_target_is_shifted_and_filled_up(data: TranslationData) -> None:
    source, target = data.weights.inputs
    answers = data.weights.targets
    assert all(item.dtype == torch.int64 for item in (source, target, answers))
    assert [item.shape for item in data.signature.inputs] == [source.shape[1:], target.shape[1:]]
    assert int(max(source.max(), target.max())) < data.classes == data.signature.inputs[0].vocabulary <= 64
    assert (target[:, 0] == BEGIN).all()
    assert torch.equal((source == END).sum(1), torch.ones(len(source), dtype=torch.int64))
    for before, after in zip(target.tolist(), answers.tolist(), strict=True):
        end = after.index(END)
        assert before[1 : end + 1] == after[:end]
        assert set(before[end + 1 :]) <= {PADDING}
        assert set(after[end + 1 :]) <= {IGNORED}
    assert UNKNOWN not in source


def test_the_tokenizer_gives_texts_back_and_has_the_special_tokens_first() -> None:
    words = ["ein Haus, das 42 kostet", "zwei  Häuser - 1.000!", "drei"]
    tokenizer = train_tokenizer(words, 100)
    assert [tokenizer.token_to_id(token) for token in ("<pad>", "<unk>", "<s>", "</s>")] == [0, 1, 2, 3]
    for text in words:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
        assert min(ids) > END
    assert UNKNOWN in tokenizer.encode("дом").ids
    assert [len(tokenizer.encode(text).tokens) for text in ("42", "100")] == [3, 4]  # figures stay alone
    # Of a large alphabet the rarest characters are left out.
    assert train_tokenizer(["".join(map(chr, range(0x4E00, 0x4F00)))], 32).get_vocab_size() <= 32


def test_every_process_has_the_same_tokenizer() -> None:
    """Trials run in processes of their own, whose hashes differ. Here without torch, which is slow to load."""
    texts = [text for pair in number_words(NumberWords(pairs=400)).train for text in pair]
    made = train_tokenizer(texts, 128)
    code = (
        "import json, sys; from tokenizers import Tokenizer, trainers; given = json.load(sys.stdin);"
        "made = Tokenizer.from_str(given['tokenizer']);"
        "trainer = trainers.BpeTrainer(vocab_size=128, special_tokens=given['special'], limit_alphabet=64,"
        " show_progress=False); made.train_from_iterator(given['texts'], trainer); print(made.to_str())"
    )
    given = json.dumps({"tokenizer": made.to_str(), "special": SPECIAL, "texts": texts})
    for _ in range(2):
        again = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
        assert again.stdout.strip() == made.to_str()


def test_only_tokens_count_in_the_loss_and_the_share_of_right_ones(data: TranslationData) -> None:
    outputs = torch.zeros(2, 5, 3)
    outputs[0, 4, 0], outputs[0, 4, 1], outputs[1, 4, :] = 1.0, 1.0, 9.0
    targets = torch.tensor([[4, 3, IGNORED], [4, IGNORED, IGNORED]])
    tally = data.tally(outputs, targets)
    assert tally.tolist() == [2, 3]
    assert data.values(tally) == {"tokenAccuracy": pytest.approx(2 / 3)}
    assert data.reward(outputs, targets) == pytest.approx(2 / 3)
    logs = torch.log_softmax(outputs, 1)
    expected = -(logs[0, 4, 0] + logs[0, 3, 1] + logs[1, 4, 0]) / 3
    assert float(data.loss(outputs, targets)) == pytest.approx(float(expected))


def test_label_smoothing_raises_the_loss_of_a_sure_answer() -> None:
    plain, smooth = (load(task(training={"labelSmoothing": value}), None) for value in ("0", "0.1"))
    outputs, targets = torch.zeros(1, plain.classes, 1), torch.tensor([[5]])
    outputs[0, 5] = 20.0
    assert float(plain.loss(outputs, targets)) < 1e-3
    assert float(smooth.loss(outputs, targets)) == pytest.approx(0.1 * 20 * (1 - 1 / plain.classes), rel=1e-3)


def test_padding_has_no_part_in_an_imitation(data: TranslationData) -> None:
    teacher = torch.randn(2, 5, 3)
    teacher[:, :, 2] = 0
    teacher[1, :, 1] = 0
    outputs = torch.randn(2, 5, 3)
    kept = [(0, 0), (0, 1), (1, 0)]
    expected = sum(-(teacher[n, :, t].softmax(0) * outputs[n, :, t].log_softmax(0)).sum() for n, t in kept) / 3
    assert float(data.imitation(outputs, teacher)) == pytest.approx(float(expected), rel=1e-5)


class Knowing:
    """A network that knows the answers, by source, and is wrong at the places that it is told to."""

    def __init__(self, split: Split, classes: int, wrong: dict[int, int] | None = None) -> None:
        assert isinstance(split.inputs, tuple)
        self.classes, self.calls = classes, 0
        self.answers = {
            tuple(source): [token for token in answer if token != IGNORED]
            for source, answer in zip(split.inputs[0].tolist(), split.targets.tolist(), strict=True)
        }
        for row, place in (wrong or {}).items():
            answer = self.answers[tuple(split.inputs[0][row].tolist())]
            answer[place] = END + 1 if answer[place] != END + 1 else END + 2

    def __call__(self, inputs: Inputs) -> Tensor:
        self.calls += 1
        source, target = inputs
        outputs = torch.zeros(len(source), self.classes, target.shape[1])
        for row, (text, before) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
            for place, token in enumerate(self.answers[tuple(text)]):
                assert before[place] != PADDING or place == 0 or PADDING in before[:place] or place
                outputs[row, token, place] = 5.0
        outputs[:, [PADDING, UNKNOWN, BEGIN], :] += 9.0  # what it must never write
        return outputs


def test_who_knows_everything_writes_it(data: TranslationData) -> None:
    meter = data.meter()
    for start in (0, 16):
        knowing = Knowing(data.selection, data.classes)
        meter.add(knowing, data.selection.at(slice(start, start + 16 if not start else None)))
    found = meter.values()
    assert list(found) == ["bleu", "exactMatch", "tokenAccuracy", "loss"]
    assert found["bleu"] == 1.0
    assert found["exactMatch"] == 1.0
    longest = max(int((row != IGNORED).sum()) for row in data.selection.at(slice(16, None)).targets)
    assert knowing.calls == longest + 1  # it stops when all have ended


def test_bleu_and_exact_match_are_those_of_the_texts(data: TranslationData) -> None:
    part = data.selection.first(10)
    knowing = Knowing(part, data.classes, wrong={1: 0, 4: 1, 7: 0})
    meter = data.meter()
    meter.add(knowing, part)
    found = meter.values()
    assert found["exactMatch"] == pytest.approx(0.7)
    written = greedy(knowing, part.inputs[0], part.targets.shape[1])
    decoded = texts(data, Split((written, written), written), 0)
    expected = texts(data, part, 1)
    assert sum(one == other for one, other in zip(decoded, expected, strict=True)) == 7
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(decoded, [expected]).score / 100)
    assert 0.2 < found["bleu"] < 1


def test_bleu_of_single_words_counts_words() -> None:
    german = load(task(numberWords={"source": "en", "target": "de"}), None)
    part = german.selection.first(8)
    meter = german.meter()
    meter.add(Knowing(part, german.classes, wrong={0: 0, 3: 0}), part)
    assert meter.values()["bleu"] == pytest.approx(0.75)
    assert meter.values()["exactMatch"] == 0.75


def test_what_has_been_cut_is_never_right(tmp_path: Path) -> None:
    short = [f"{word},{word} {word}" for word in ("ab", "ba", "aab", "bba", "abb", "baa", "aba", "bab")]
    (tmp_path / "train.csv").write_text("\n".join(["source,target", *short]))
    (tmp_path / "test.csv").write_text("source,target\na b,a b\na,a b a b a b a b\n")
    dataset = {"volume": {"claimName": "data"}}
    read = Task.model_validate({"translation": {"dataset": dataset, "maxTokens": 9, "vocabulary": 32}})
    cut = load(read, tmp_path)
    assert isinstance(cut, TranslationData)
    assert cut.signature.inputs[1].shape == (9,)
    assert (cut.test.targets == END).any(1).tolist() == [True, False]
    assert (cut.training.targets == END).any(1).all()
    meter = cut.meter()
    meter.add(Knowing(cut.test, cut.classes), cut.test)
    assert meter.values()["exactMatch"] == 0.5


def test_training_lowers_the_loss_and_goes_on_bit_equal(data: TranslationData) -> None:
    recipe = task(training={"learningRate": "0.01", "batchSize": 32}).training

    def trainer() -> Trainer:
        return Trainer(built(data), data, recipe, epochs=3, seed=1)

    def stop_after(steps: int) -> Any:
        asked = iter(range(steps))
        return lambda: next(asked, None) is None

    whole = trainer()
    reports = [whole.run_epoch(lambda: False) for _ in range(3)]
    losses = [report.loss for report in reports if report is not None]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < 0.8 * losses[0]
    first = trainer()
    first.run_epoch(lambda: False)
    assert first.run_epoch(stop_after(4)) is None
    second = trainer()
    second.load(first.state())
    while second.epoch < 3:
        second.run_epoch(lambda: False)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert evaluate(whole.network, data, data.selection) == evaluate(second.network, data, data.selection)


def test_a_network_that_was_trained_translates() -> None:
    few = load(task(numberWords={"pairs": 600, "largest": 999, "source": "digits"}, vocabulary=96), None)
    recipe = task(training={"learningRate": "0.01", "batchSize": 32}).training
    training = Trainer(built(few, widths=[32], dropout="0"), few, recipe, epochs=8, seed=1)
    before = evaluate(training.network, few, few.test)
    for _ in range(8):
        training.run_epoch(lambda: False)
    after = evaluate(training.network, few, few.test)
    assert before["exactMatch"] == 0
    assert after["exactMatch"] > 0.6
    assert after["bleu"] > 0.8 > before["bleu"]
    assert after["loss"] < 0.2 * before["loss"]


def test_the_parts_follow_from_the_seed_alone(data: TranslationData) -> None:
    again = load(task(), None)
    for part in PARTS:
        for mine, other in zip(getattr(data, part).inputs, getattr(again, part).inputs, strict=True):
            assert torch.equal(mine, other)
    other_seed = load(task(), None, seed=1)
    assert not np.array_equal(texts(data, data.selection, 0), texts(other_seed, other_seed.selection, 0))
    assert texts(data, data.test, 0) == texts(other_seed, other_seed.test, 0)


def test_networks_take_what_the_signature_says(data: TranslationData) -> None:
    fixed: nn.Module = built(data).eval()
    outputs = fixed(data.weights.first(3).inputs)
    assert outputs.shape == (3, data.classes, data.signature.inputs[1].shape[0])
