"""The command line: what is refused before anything starts, and what needs no run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from local_runs import REPOSITORY

from archsearch import __version__
from archsearch.cli import main
from archsearch.local.devices import accelerators, kills_for_memory, listed_devices
from archsearch.local.log import Curve

ON_A_VOLUME = {"imageClassification": {"dataset": {"volume": {"claimName": "data", "path": "images"}}}}


def test_a_volume_stands_for_the_data_and_is_remembered(make_run, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    run = make_run(task=ON_A_VOLUME, budget={"maxTrials": 1}, config={"endings": {"Train 0": "interrupted"}})
    run.finish("--volume", f"data={tmp_path / 'data'}", "--volume", f"artifacts={tmp_path / 'models'}")
    assert list((tmp_path / "models").rglob("model.onnx"))
    assert (run.out / "model.onnx").exists()
    assert not (run.out / "artifacts").exists()
    work = yaml.safe_load(next((run.out / "work").glob("*-0.json")).read_text())
    assert work["paths"]["data"] == str(tmp_path / "data")
    run.finish("--set", "budget.maxTrials=2")
    run.check_records(2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "the data are on the claim data: say which folder stands for it, with --volume data=DIR"),
        (["--volume", "data"], "--volume must look like CLAIM=DIR, but got data"),
        (["--volume", "data=."], "there is no images in"),
        (["--volume", "data=/nowhere"], "data=/nowhere must be a folder"),
        (["--volume", "dota=."], "--volume must name a claim of the spec (it names data, artifacts), but got dota"),
        (["--volume", "data=.", "--volume", "data=."], "once for each claim, but got data twice"),
    ],
)
def test_a_volume_that_cannot_be_used_is_refused(make_run, options, said):
    run = make_run(task=ON_A_VOLUME)
    assert said in run.finish(*options, code=2)
    assert run.documents() == []
    assert not (run.out / "search.json").exists()


def test_a_spec_without_artifacts_keeps_no_model_and_says_how_to(make_run):
    run = make_run(budget={"maxTrials": 1}, artifacts=None)
    assert "--set artifacts.claimName=artifacts" in run.finish()
    assert not (run.out / "model.onnx").exists()


def test_all_problems_of_a_spec_are_told_with_their_lines(make_run, capsys):
    run = make_run(budget={"maxTrials": 0, "parallelTrail": 1}, seed=-1)
    file = str(run.root / "spec.yaml")
    lines = (run.root / "spec.yaml").read_text().splitlines()
    assert main(["run", file]) == main(["validate", file]) == 2
    captured = capsys.readouterr()
    for name, path in (("maxTrials", "spec.budget.maxTrials"), ("seed", "spec.seed")):
        number = next(n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{name}:"))
        assert f"archsearch: {file}: line {number}: {path}: " in captured.err
        assert f"{file}: line {number}: {path}: " in captured.out
    assert "did you mean parallelTrials?" in captured.out
    assert not Path("out/s").exists()


@pytest.mark.parametrize("arguments", [["run", "nowhere.yaml"], ["validate", "nowhere.yaml"]])
def test_a_file_that_is_not_there_is_said_in_a_line(arguments, capsys):
    assert main(arguments) == 2
    assert "nowhere.yaml cannot be read: No such file or directory" in "".join(capsys.readouterr())


def test_a_folder_that_cannot_be_written_is_said_in_a_line(make_run):
    run = make_run()
    run.out.write_text("a file")
    assert f"{run.out} cannot be written: File exists" in run.finish(code=2)


def test_a_searcher_without_its_package_is_refused_with_what_to_install(make_run):
    run = make_run(algorithm={"treeParzen": {}})
    (run.root / "missing").mkdir()
    (run.root / "missing" / "optuna.py").write_text("raise ModuleNotFoundError(\"No module named 'optuna'\")")
    run.environment["PYTHONPATH"] = f"{run.root / 'missing'}:{REPOSITORY / 'trial_image'}"
    assert "treeParzen needs Optuna, which is not installed: pip install 'archsearch[optuna]'" in run.finish(code=2)
    assert run.documents() == []
    assert not (run.out / "search.json").exists()


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid_and_shown_with_their_defaults(example, capsys):
    assert main(["validate", str(example)]) == 0
    assert capsys.readouterr().out == f"{example}: valid\n"
    assert main(["run", str(example), "--dry-run", "--set", "budget.maxTrials=1000"]) == 0
    text = capsys.readouterr().out
    document = yaml.safe_load(text)
    assert document["spec"]["budget"]["maxTrials"] == 1000
    assert document["spec"]["space"]
    assert document["spec"]["algorithm"]
    first = text.splitlines()[0]
    size = {"evolution-digits.yaml": "15,625", "npz-volume.yaml": "15,625"}.get(example.name)
    assert size is None or f"{size} architectures" in first
    assert "architectures, hash" in first


def test_the_version_is_printed(capsys):
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"archsearch {__version__}\n"


def test_the_runner_has_no_torch():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, archsearch.cli; print([m for m in sys.modules if m.startswith('torch')])"],
        env={"PYTHONPATH": str(REPOSITORY / "trial_image")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "[]\n"


def test_devices_are_named_as_cuda_takes_them():
    listed = (
        "GPU 0: NVIDIA H100 (UUID: GPU-a)\n  MIG 3g.40gb Device 0: (UUID: MIG-1)\n"
        "  MIG 3g.40gb Device 1: (UUID: MIG-2)\n"
        "GPU 1: NVIDIA H100 (UUID: GPU-b)\n"
    )
    assert listed_devices(listed) == ("MIG-1", "MIG-2", "GPU-b")
    assert accelerators({"CUDA_VISIBLE_DEVICES": "2, 3"}) == ("2", "3")
    assert accelerators({"CUDA_VISIBLE_DEVICES": "1,-1,2"}) == ("1",)
    assert accelerators({"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_kills_for_memory_are_counted_where_the_kernel_tells(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free 5\noom_kill 3\n")
    (tmp_path / "memory.events").write_text("oom 4\noom_kill 2\noom_group_kill 1\n")
    assert kills_for_memory((tmp_path / "vmstat", tmp_path / "memory.events", tmp_path / "none")) == 5


def test_a_curve_is_read_as_the_log_grows(tmp_path):
    log = tmp_path / "log"
    curve = Curve(log, "accuracy")
    assert curve.points() == ()
    log.write_text("data\nepoch 1/3: training loss 0.5, selection accuracy 0.2500, loss 1.5, 0.1 s\nepoch 2/3: trai")
    assert [(point.epoch, point.value) for point in curve.points()] == [(1, 0.25)]
    with log.open("a") as stream:
        stream.write("ning loss 0.4, selection accuracy nan, loss 1.4, 0.1 s\n")
        stream.write("epoch 3/3: training loss 0.4, selection accuracy 0.7500, loss 1.4, 0.1 s\n")
    assert [(point.epoch, point.value) for point in curve.points()] == [(1, 0.25), (3, 0.75)]
