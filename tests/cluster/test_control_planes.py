"""Control planes start although somebody takes the ports that were free."""

import socket

import pytest

from cluster import ControlPlane
from cluster.controlplane import Ports

pytestmark = pytest.mark.apiserver


def test_a_port_that_is_taken_between_choice_and_use_is_replaced(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        free = Ports.free()
        choices = iter([Ports(free.etcd, free.etcd_peer, taken), Ports.free()])
        monkeypatch.setattr(Ports, "free", lambda: next(choices))
        with ControlPlane.start() as plane:
            assert not plane.server.endswith(f":{taken}")
            assert plane.client.exists("/readyz")
        assert next(choices, None) is None
