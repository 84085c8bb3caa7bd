"""Reading a search from a file: every problem at once, each with its path, value and line."""

from pathlib import Path

import pytest

from archsearch.api.load import InvalidSpec, read_search

MINIMAL = """\
apiVersion: archsearch.dev/v1alpha1
kind: ArchitectureSearch
metadata:
  name: minimal
spec:
  task:
    imageClassification:
      dataset: {builtin: digits}
  budget:
    maxTrials: 10
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(InvalidSpec) as refusal:
        read_search(text, overrides)
    assert str(refusal.value).splitlines() == [str(problem) for problem in refusal.value.problems]
    return [str(problem) for problem in refusal.value.problems]


def test_a_minimal_search_has_the_defaults_of_the_models() -> None:
    metadata, spec = read_search(MINIMAL)
    assert metadata == {"name": "minimal"}
    assert (spec.budget.max_trials, spec.budget.parallel_trials, spec.retrain.seeds) == (10, 1, 3)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(MINIMAL)
    assert read_search(file) == read_search(MINIMAL)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_search(tmp_path / "search.yaml")


def test_all_problems_are_told_in_the_order_of_their_lines() -> None:
    text = MINIMAL.replace("maxTrials: 10", 'maxTrials: 0\n    parallelTrials: "4"\n    maxTrial: 3')
    text = text.replace("name: minimal", "name: Minimal").replace("v1alpha1", "v1")
    name_rule = "must be lower-case letters, digits and dashes, and begin and end with a letter or digit"
    assert problems(text + "  seed: -1\n") == [
        'line 1: apiVersion: must be archsearch.dev/v1alpha1, but got "archsearch.dev/v1"',
        f'line 4: metadata.name: {name_rule}, but got "Minimal"',
        "line 10: spec.budget.maxTrials: must be greater than or equal to 1, but got 0",
        'line 11: spec.budget.parallelTrials: must be a valid integer, but got "4"',
        "line 12: spec.budget.maxTrial: is not a field, did you mean maxTrials?",
        "line 13: spec.seed: must be greater than or equal to 0, but got -1",
    ]


def test_several_rules_that_one_object_breaks_are_several_problems() -> None:
    text = MINIMAL + "  export: {format: ONNX}\n  retrain: {topK: 0}\n"
    assert [line.partition(" must")[0] for line in problems(text)] == [
        "line 5: spec.artifacts:",
        "line 12: spec.retrain.topK:",
    ]


def test_what_is_missing_is_told_with_the_line_of_what_should_hold_it() -> None:
    assert problems(MINIMAL.replace("maxTrials: 10", "parallelTrials: 2")) == [
        "line 9: spec.budget.maxTrials: must be set"
    ]


def test_a_field_without_a_close_name_is_told_with_those_there_are() -> None:
    [problem] = problems(MINIMAL + "  retrain: {zzz: 1}\n")
    assert problem == "line 11: spec.retrain.zzz: is not a field: topK, seeds, epochs are"


def test_a_field_that_is_written_twice() -> None:
    [problem] = problems(MINIMAL + "    maxTrials: 20\n")
    assert problem == "line 11: spec.budget.maxTrials: must be written once, but is written again in line 11"


def test_a_decimal_without_quotes_is_told_how_to_be_written() -> None:
    [problem] = problems(MINIMAL + "    gpuHours: 2.5\n")
    assert problem == 'line 11: spec.budget.gpuHours: must be a text, but got 2.5: write it in quotes, "2.5"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold a YAML document, but is empty"),
        ("a: [1", "line 1: must be YAML"),
        ("a: \x07", "must be YAML"),
        ("a: &x [*x]", "must be YAML"),
        (MINIMAL + "---\n" + MINIMAL, "must hold one YAML document"),
        ("examples/minimal.yaml", "a file is given as a Path"),
        ("[1, 2]", "must be a resource of kind ArchitectureSearch"),
        (MINIMAL.partition("spec:")[0], "spec: must be an object, but got nothing"),
        (MINIMAL.replace("name: minimal", "labels: {}"), "metadata.name: must be a text, but got nothing"),
        (MINIMAL.replace("minimal", "m" * 41), "metadata.name: must be at most 40 characters long"),
        (MINIMAL.replace("kind: Arch", "kind: Arc"), "kind: must be ArchitectureSearch"),
        (MINIMAL + "statsu: {}\n", "statsu: is not a field, did you mean status?"),
    ],
)
def test_what_is_no_search_at_all(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text))


def test_null_is_the_same_as_leaving_out() -> None:
    assert read_search(MINIMAL + "  space: null\n  suspend: ~\n") == read_search(MINIMAL)


def test_yaml_means_what_it_means_to_kubectl() -> None:
    text = MINIMAL.replace("maxTrials: 10", "maxTrials: 1e1\n    parallelTrials: 4.0") + "  suspend: yes\n  seed: 010\n"
    _, spec = read_search(text.replace("name: minimal", "name: minimal\n  annotations: {day: 2026-01-01}"))
    assert (spec.budget.max_trials, spec.budget.parallel_trials, spec.suspend, spec.seed) == (10, 4, True, 8)


def test_anchors_and_merges() -> None:
    text = MINIMAL.replace("maxTrials: 10", "<<: {maxTrials: 5, parallelTrials: 2}\n    maxTrials: 10")
    _, spec = read_search(text)
    assert (spec.budget.max_trials, spec.budget.parallel_trials) == (10, 2)


@pytest.mark.parametrize("prefix", ["", "spec."])
def test_overrides_are_applied_in_their_order(prefix: str) -> None:
    _, spec = read_search(MINIMAL, [f"{prefix}budget.maxTrials=4", f"{prefix}budget.maxTrials=5", "suspend=true"])
    assert (spec.budget.max_trials, spec.suspend) == (5, True)


def test_overrides_reach_into_lists_and_make_what_is_absent() -> None:
    _, spec = read_search(
        MINIMAL, ["objectives.0.metric=loss", "objectives.1.metric=flops", "objectives.0.goal=Minimize"]
    )
    assert spec.objectives is not None
    assert [objective.metric for objective in spec.objectives] == ["loss", "flops"]


def test_an_override_holds_any_yaml() -> None:
    _, spec = read_search(
        MINIMAL, ["algorithm={regularizedEvolution: {population: 6, sample: 3}}", "space={nasBench201: {}}"]
    )
    assert spec.algorithm is not None
    assert spec.algorithm.member[0] == "regularizedEvolution"


def test_an_override_removes_with_null() -> None:
    _, spec = read_search(MINIMAL + "  seed: 5\n", ["seed=null"])
    assert spec.seed == 0


def test_a_dot_in_a_name() -> None:
    _, spec = read_search(MINIMAL, [r"trial.resources.limits.nvidia\.com/gpu='2'"])
    assert spec.trial.resources.limits == {"nvidia.com/gpu": "2"}


@pytest.mark.parametrize("written", ["0.10", "'0.10'", '"0.10"'])
def test_a_decimal_on_a_command_line_needs_no_quotes(written: str) -> None:
    _, spec = read_search(MINIMAL, [f"task.imageClassification.training.learningRate={written}"])
    assert spec.task.image_classification is not None
    assert spec.task.image_classification.training.learning_rate == "0.10"


def test_the_file_is_not_changed_by_an_override_that_fails() -> None:
    assert problems(MINIMAL, "objectives.3.metric=loss") == [
        "override objectives.3.metric=loss: objectives is a list of 0: 3 must be a position from 0 to 0"
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("budget.maxTrials", "override budget.maxTrials: must look like path.to.field=value"),
        ("=3", "override =3: must look like path.to.field=value"),
        ("budget..maxTrials=3", "must look like path.to.field=value"),
        ("budget.maxTrials.x=3", "budget.maxTrials has no field x: it is 10"),
        ("budget={", "value must be YAML"),
        ("budget.maxTrials=0", "spec.budget.maxTrials: must be greater than or equal to 1, but got 0"),
        ("budget.maxTrial=1", "spec.budget.maxTrial: is not a field, did you mean maxTrials?"),
        ("budget.gpuHours=0", "spec.budget.gpuHours: must be greater than 0"),
    ],
)
def test_bad_overrides(override: str, said: str) -> None:
    [problem] = problems(MINIMAL, override)
    assert said in problem
    assert not problem.startswith("line")
