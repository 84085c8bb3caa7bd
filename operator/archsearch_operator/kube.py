"""The few requests that the operator makes of the API server. Dictionaries go in and out: nothing is decided here.

Typed models of the client are not used: they cost ten times as much for a list of Jobs, and refuse answers that a newer
server may give.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from archsearch.api.base import GROUP, VERSION
from archsearch.api.search import PLURAL
from archsearch.api.trial import TRIAL_PLURAL
from archsearch_operator import names
from archsearch_operator.workqueue import Key

Document = dict[str, Any]
TIMEOUT: Final = 30.0
PAGE: Final = 500


class Conflict(Exception):
    """Somebody wrote the object first."""


class AlreadyExists(Exception):
    """There is an object of that name."""


class Refused(Exception):
    """The API server will not have the object: a quota, a rule, or a permission. str() is what it said."""


class NamespaceGoing(Exception):
    """The namespace is being deleted: nothing can be created in it any more."""


class Kube:
    """A connection to the API server; close() it."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Kube:
        """With the pod's service account, or the current context of the kubeconfig outside a cluster."""
        await config.load_config()  # type: ignore[no-untyped-call]
        return cls(client.ApiClient())

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get_search(self, key: Key) -> Document | None:
        """The search as it is now, or None."""
        return await self._find(f"/apis/{GROUP}/{VERSION}/namespaces/{key.namespace}/{PLURAL}/{key.name}")

    async def get_trial(self, namespace: str, name: str) -> Document | None:
        """A trial as it is now, or None."""
        return await self._find(f"{_trials(namespace)}/{name}")

    async def get_job(self, namespace: str, name: str) -> Document | None:
        """A Job as it is now, or None."""
        return await self._find(f"{_jobs(namespace)}/{name}")

    async def trials(self, key: Key, *, only_open: bool) -> list[Document]:
        """The search's trials: all of them, or those whose result is not recorded."""
        selector = f"{names.SEARCH}={key.name}" + (f",{names.OPEN}=true" if only_open else "")
        return [item async for item in self._list(_trials(key.namespace), selector)]

    async def jobs(self, key: Key) -> list[Document]:
        """The search's Jobs."""
        return [item async for item in self._list(_jobs(key.namespace), f"{names.SEARCH}={key.name}")]

    async def pods(self, key: Key) -> list[Document]:
        """The pods of the search's Jobs."""
        path = f"/api/v1/namespaces/{key.namespace}/pods"
        return [item async for item in self._list(path, f"{names.SEARCH}={key.name}")]

    async def create_trial(self, document: Document) -> Document:
        """Create a trial. Raises AlreadyExists."""
        return await self._create(_trials(document["metadata"]["namespace"]), document)

    async def create_job(self, document: Document) -> Document:
        """Create a Job. Raises AlreadyExists."""
        return await self._create(_jobs(document["metadata"]["namespace"]), document)

    async def delete_job(self, namespace: str, name: str) -> None:
        """Delete a Job and its pods. It stays until its pods have stopped, so that no two run for one trial."""
        try:
            await self._request("DELETE", f"{_jobs(namespace)}/{name}", body={"propagationPolicy": "Foreground"})
        except client.ApiException as error:
            if error.status != 404:
                raise

    async def write_status(self, document: Document, status: Document) -> Document:
        """Replace the status of a search or a trial that was read as `document`. Raises Conflict if it changed since.

        A JSON patch, because a merge patch would keep what the new status no longer has.
        """
        metadata = document["metadata"]
        plural = PLURAL if document["kind"] == "ArchitectureSearch" else TRIAL_PLURAL
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}/status"
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._patch(path, patch, "application/json-patch+json")

    async def close_trial(self, namespace: str, name: str) -> None:
        """Take a trial off the list of open ones."""
        patch = {"metadata": {"labels": {names.OPEN: None}}}
        await self._patch(f"{_trials(namespace)}/{name}", patch, "application/merge-patch+json")

    async def create_event(self, document: Document) -> None:
        """Tell the user of something that happened."""
        await self._request("POST", f"/api/v1/namespaces/{document['metadata']['namespace']}/events", body=document)

    async def _find(self, path: str) -> Document | None:
        try:
            return await self._request("GET", path)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise

    async def _create(self, path: str, document: Document) -> Document:
        try:
            return await self._request("POST", path, body=document)
        except client.ApiException as error:
            if error.status == 409 and "AlreadyExists" in str(error.body):
                raise AlreadyExists(document["metadata"]["name"]) from error
            if error.status == 403 and "NamespaceTerminating" in str(error.body):
                raise NamespaceGoing(document["metadata"]["namespace"]) from error
            if error.status in (400, 403, 422):
                raise Refused(f"{document['kind']} {document['metadata']['name']}: {_said(error)}") from error
            raise

    async def _patch(self, path: str, body: Any, content_type: str) -> Document:
        try:
            return await self._request("PATCH", path, body=body, content_type=content_type)
        except client.ApiException as error:
            if error.status == 409:
                raise Conflict(path) from error
            raise

    async def _list(self, path: str, selector: str) -> AsyncIterator[Document]:
        token = ""
        while True:
            query = [("labelSelector", selector), ("limit", str(PAGE)), *([("continue", token)] if token else [])]
            page = await self._request("GET", path, query=query)
            for item in page["items"]:
                yield item
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Document:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._api.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        verb, url, sent, content, form = request
        response = await self._api.call_api(verb, url, sent, content, form, _request_timeout=TIMEOUT)
        data = await response.read()  # type: ignore[no-untyped-call]
        if response.status >= 300:
            text = data.decode(errors="replace") if data else ""
            raise client.ApiException(status=response.status, reason=response.reason, body=text)
        found: Document = json.loads(data)
        return found


UNAVAILABLE: Final = (client.ApiException, Refused, aiohttp.ClientError, TimeoutError, OSError)
"""What a request may end in through no fault of this program's."""


def _said(error: client.ApiException) -> str:
    """The API server's own words."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason)


def _trials(namespace: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{TRIAL_PLURAL}"


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"
