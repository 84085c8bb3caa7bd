"""Every example is a search that runs to its end on this machine, here with little to do; those of tasks are apart."""

from pathlib import Path

import pytest
from little_examples import EXAMPLES, LITTLE, run_to_its_end
from test_task_examples import BESIDE


def test_no_example_is_left_out():
    assert set(LITTLE) == {path.stem for path in EXAMPLES.glob("*.yaml")}
    assert set(BESIDE) < set(LITTLE)


@pytest.mark.parametrize("name", sorted(LITTLE.keys() - BESIDE.keys()))
@pytest.mark.timeout(300)
def test_an_example_runs_to_its_end(name: str, tmp_path: Path):
    run_to_its_end(name, tmp_path)
