"""`/metrics` of a trial, and the wait for one last scrape at its end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels. No label is called job, instance or pod: these are the scraper's."""

DESCRIPTIONS: Final = {
    "archsearch_trial_objective": "A number of the result so far; split says on which images it was measured.",
    "archsearch_trial_epoch": "Epochs trained.",
    "archsearch_trial_epochs": "Epochs that will be trained.",
    "archsearch_trial_epoch_seconds": "How long the last epoch took.",
    "archsearch_trial_latency_seconds": "Time of one batch on this hardware.",
    "archsearch_trial_throughput": "Images a second on this hardware.",
    "archsearch_trial_peak_memory_bytes": "Largest memory in use above the process at rest.",
    "archsearch_trial_parameters": "Trainable weights of the final network.",
    "archsearch_trial_flops": "Operations of the final network for one image; a multiply-add is two.",
    "archsearch_trial_activation_bytes": "What training the final network keeps of one image for the gradient.",
    "archsearch_trial_info": "The kind of work.",
}


def series(name: str, **labels: str) -> Series:
    """The series of a metric that DESCRIPTIONS has."""
    if name not in DESCRIPTIONS:
        raise KeyError(name)
    return name, tuple(labels.items())


class Metrics:
    """The numbers that a trial shows. A number that is not known yet is absent, not zero.

    scraper: whose scrape await_scrape() waits for, as the beginning of its User-Agent; empty for anybody's.
    """

    def __init__(self, scraper: str = "") -> None:
        self._scraper = scraper
        self._lock = threading.Lock()
        self._values: dict[Series, float] = {}
        self._final = False
        self._seen = threading.Event()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def set(self, values: Mapping[Series, float], *, final: bool = False) -> None:
        """Show these numbers, all at once: no scrape sees half of them. final: nothing comes after them."""
        with self._lock:
            self._values.update(values)
            self._final |= final

    def serve(self, port: int) -> int:
        """Serve in the background on all addresses; returns the port (any free one for 0). May raise OSError."""
        server = _server(port, self)
        threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
        return int(server.server_address[1])

    def await_scrape(self, seconds: float, should_stop: Callable[[], bool]) -> bool:
        """Wait until a scrape of the final numbers has been answered in full; False after `seconds` or when told to.

        Without it the last value of a trial is lost to Prometheus, which reads only every few seconds.
        """
        end = time.monotonic() + seconds
        while not self._seen.is_set():
            left = end - time.monotonic()
            if left <= 0 or should_stop():
                return False
            self._seen.wait(min(left, 0.1))
        return True

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The numbers, as prometheus_client wants them."""
        with self._lock:
            values = dict(self._values)
        families: dict[str, GaugeMetricFamily] = {}
        for (name, labels), value in values.items():
            family = families.setdefault(
                name, GaugeMetricFamily(name, DESCRIPTIONS[name], labels=[label for label, _ in labels])
            )
            family.add_metric([text for _, text in labels], value)
        yield from families.values()

    def answer(self, accept: str, agent: str = "") -> tuple[bytes, str, Callable[[], None]]:
        """The body, its type, and what is to be called once it has been sent to a client of this User-Agent."""
        with self._lock:
            final = self._final  # before the numbers are read: what is read afterwards is at least as new
        final = final and agent.startswith(self._scraper)
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type, (self._seen.set if final else lambda: None)


def _server(port: int, metrics: Metrics) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing

        def do_GET(self) -> None:
            """Answer a scrape."""
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404, "only /metrics is here")
                return
            body, content_type, sent = metrics.answer(
                self.headers.get("Accept", ""), self.headers.get("User-Agent", "")
            )
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)  # raises where the client has gone away
            sent()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the base class's
            """Nothing: a scrape every few seconds is no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

        def server_bind(self) -> None:
            """Listen on IPv4 and IPv6, whichever the pod has."""
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: a client that went away will come again."""

    return Server(("", port), Handler)
