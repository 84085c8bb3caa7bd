"""The API server as the tests of the API talk to it."""

import json
import re
from dataclasses import dataclass
from typing import Any

from archsearch.api import API_VERSION
from archsearch.api.load import InvalidSpec, read_search
from cluster import ControlPlane
from cluster.client import MERGE, ApiError

Json = dict[str, Any]


class Refused(Exception):
    """What the API server said, a line for each problem, with positions in lists written as the library writes them."""

    def __init__(self, status: Json) -> None:
        self.code: int = status["code"]
        causes = status.get("details", {}).get("causes", [])
        problems = [f"{_dotted(cause['field'])}: {cause['message']}" for cause in causes]
        # What is no field at all is found by the decoder, which gives no causes.
        super().__init__("\n".join(problems or [_dotted(status["message"])]))


def _dotted(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]", r".\1", text)


@dataclass(frozen=True)
class Server:
    """Requests for one of the two kinds in the namespace `default`, with strict field validation as in kubectl."""

    plane: ControlPlane
    plural: str

    def create(self, resource: Json, *, dry_run: bool = False) -> Json:
        """The object with its defaults. Raises Refused."""
        return self._send("POST", "", resource, "application/json", dry_run=dry_run)

    def patch(self, name: str, patch: Json, subresource: str = "", *, dry_run: bool = False) -> Json:
        return self._send("PATCH", f"/{name}{subresource}", patch, MERGE, dry_run=dry_run)

    def delete(self, name: str) -> None:
        self._send("DELETE", f"/{name}", None, "application/json", dry_run=False)

    def _send(self, method: str, path: str, body: Json | None, content_type: str, *, dry_run: bool) -> Json:
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        try:
            answer = self.plane.client.request(
                method, f"/apis/{API_VERSION}/namespaces/default/{self.plural}{path}{query}", body, content_type
            )
        except ApiError as error:
            raise Refused(json.loads(str(error).partition(f"{error.code}: ")[2])) from None
        created: Json = json.loads(answer)
        return created


def python_says(resource: Json) -> str:
    """Why the library refuses a resource; empty where it does not."""
    try:
        read_search(json.dumps(resource))
    except InvalidSpec as refusal:
        return str(refusal)
    return ""


def server_says(server: Server, resource: Json) -> str:
    """Why the API server refuses it."""
    try:
        server.create(resource, dry_run=True)
    except Refused as refusal:
        return str(refusal)
    return ""
