"""A few requests to the API server, over HTTP with the standard library; no kubectl process for each of them."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError

Json = dict[str, Any]

FIELD_MANAGER = "archsearch-cluster"
# Server-side apply takes YAML, of which JSON is a part.
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiError(ClusterError):
    """The API server refused a request; `code` is the HTTP status."""

    def __init__(self, method: str, path: str, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"{method} {path} was answered with {code}: {message}")


@dataclass(frozen=True)
class Client:
    """A client of the API server that a kubeconfig of this package names."""

    kubeconfig: Path

    def request(self, method: str, path: str, body: Json | None = None, content_type: str = "application/json") -> str:
        """Send a request and return the answer's body.

        Raises ApiError if the server refuses it and OSError if there is no server.
        """
        config = json.loads(self.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        request = urllib.request.Request(
            cluster["server"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {config['users'][0]['user']['token']}",
                "Content-Type": content_type,
            },
        )
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(method, path, error.code, error.read().decode(errors="replace").strip()) from None

    def get(self, path: str) -> Json:
        """The object at this path."""
        found: Json = json.loads(self.request("GET", path))
        return found

    def apply(self, path: str, body: Json) -> None:
        """Create the object at this path or bring it to this form."""
        self.request("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", body, APPLY)

    def merge(self, path: str, body: Json) -> None:
        """Change some fields of the object at this path."""
        self.request("PATCH", f"{path}?fieldManager={FIELD_MANAGER}", body, MERGE)

    def exists(self, path: str) -> bool:
        """Whether there is an object at this path; False also while the server is not there yet."""
        return answers(lambda: self.request("GET", path))


def answers(ask: Callable[[], object]) -> bool:
    """Whether a request succeeds; anything that a server says or fails to say while it starts is False."""
    try:
        ask()
    except (OSError, ApiError):
        return False
    return True
