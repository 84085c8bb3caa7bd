"""What a state folder says of its cluster: written whole, and read without surprise if it is not."""

import sys
from pathlib import Path

import pytest

from cluster import controlplane, planes, status
from cluster.controlplane import Ports, Settings
from cluster.paths import State

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a cluster is found in /proc")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("ARCHSEARCH_STATE", str(tmp_path))
    state = State("some")
    state.create()
    return state


def test_a_description_is_read_as_it_was_written_and_nothing_else_is_left(state: State) -> None:
    controlplane.describe(state, Settings(Ports(1, 2, 3), owner="7:7"))
    found = controlplane.described(state)
    assert found["ports"] == {"etcd": 1, "etcd_peer": 2, "api": 3}
    assert (found["with_node"], found["owner"], found["boot"]) == (False, "7:7", controlplane.this_boot())
    assert [path.name for path in state.folder.glob("cluster.*")] == ["cluster.json"]
    assert status.is_plane(state)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", "\0"])
def test_a_folder_whose_description_says_nothing_is_no_control_plane(state: State, text: str | None) -> None:
    if text is not None:
        state.description.write_text(text)
    assert controlplane.described(state) == {}
    assert not status.is_plane(state)
    assert status.report(state) == 1
    planes.reap_orphans()
    assert state.folder.is_dir()


def test_the_state_of_a_control_plane_whose_owner_is_gone_is_removed(state: State) -> None:
    controlplane.describe(state, Settings(Ports(1, 2, 3), owner="1:0"))
    planes.reap_orphans()
    assert not state.folder.exists()


def test_a_folder_that_cannot_be_a_clusters_is_left_alone(state: State) -> None:
    copy = state.folder.with_name("some.bak")
    copy.mkdir()
    (copy / "cluster.json").write_text('{"owner": "1:0", "with_node": false}')
    planes.reap_orphans()
    assert copy.is_dir()
