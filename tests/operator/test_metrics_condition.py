"""A metrics server that is away, slow or wrong loses no result: the search ends, and its condition says why."""

from __future__ import annotations

import json
import socketserver
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from harness import Namespace, Operator, free_port, wait_for
from simulated_node import Ending, SimulatedNode, good_message

from cluster import ControlPlane

pytestmark = pytest.mark.apiserver


class Server(socketserver.ThreadingTCPServer):
    """Answers every query with one value of the objective, with garbage, or never."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, kind: str) -> None:
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), type("Handler", (Handler,), {"kind": kind, "over": self.over}))


class Handler(BaseHTTPRequestHandler):
    kind: str
    over: threading.Event

    def do_POST(self) -> None:
        if self.kind == "slow":
            self.over.wait(120)
            return
        value = {"metric": {"metric": "accuracy"}, "value": [1.0, "0.123456"]}
        wrong = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [value]}})
        body = (wrong if self.kind == "wrong" else "<html>please log in</html>").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "away":
        yield f"http://127.0.0.1:{free_port()}"
        return
    with Server(request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.over.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("away", "PrometheusUnreachable", "127.0.0.1"),
        ("slow", "PrometheusTimeout", "127.0.0.1"),
        ("wrong", "Disagrees", "0.123456"),
        ("garbage", "MalformedAnswer", "HTTP status 200"),
    ],
    indirect=["url"],
    ids=["away", "slow", "wrong", "garbage"],
)
def test_no_result_is_lost_and_the_condition_says_why(control_plane: ControlPlane, tmp_path, url, reason, words):
    namespace = Namespace(control_plane.client, f"m-{uuid.uuid4().hex[:8]}").create()
    environment = {"ARCHSEARCH_PROMETHEUS_URL": url}
    with (
        Operator(control_plane.kubeconfig, namespace.name, tmp_path / "operator.log", environment),
        SimulatedNode(namespace.client, namespace.name, lambda work: Ending(0, 0, good_message(work))),
    ):
        namespace.submit(
            "s",
            budget={"maxTrials": 3, "parallelTrials": 3},
            space={"nasBench201": {}},
            algorithm={"random": {}},
            evaluation={"train": {"epochs": 1}},
            retrain={"topK": 0},
        )
        wait_for(lambda: namespace.condition("s", "Succeeded")[0] in {"True", "False"}, 90, "the search")
    assert namespace.condition("s", "Succeeded")[:2] == ("True", "Completed")
    results = [trial["status"]["result"]["metrics"]["accuracy"] for trial in namespace.trials("Train")]
    assert len(results) == 3
    assert namespace.search("s")["status"]["best"]["metrics"]["accuracy"] == max(results)
    status, why, message = namespace.condition("s", "MetricsAvailable")
    assert (status, why) == ("False", reason), message
    assert words in message
