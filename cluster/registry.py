"""The cluster's own image registry, on the host's loopback: the way from buildah to containerd."""

import json
import urllib.error
import urllib.request
from pathlib import Path

from cluster import processes
from cluster.binaries import binary
from cluster.client import answers
from cluster.commands import run
from cluster.errors import ClusterError
from cluster.paths import State
from cluster.waiting import until

ADDRESS = "127.0.0.1:5000"

_MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
# Otherwise it tries to send traces to a collector that does not exist, and complains.
_ENVIRONMENT = {"OTEL_TRACES_EXPORTER": "none"}


def start(state: State) -> None:
    """Start the registry on the images it has, and wait until it answers."""
    pid = processes.start(state, "registry", [binary("registry"), "serve", _configure(state)], env=_ENVIRONMENT)
    until(serves, "an answer from the registry", state=state, components={"registry": pid})


def serves() -> bool:
    """Whether the registry answers."""
    return answers(lambda: _request("/v2/"))


def reference(name: str) -> str:
    """What pods call the image `NAME:TAG` of the registry."""
    return f"{ADDRESS}/{name}"


def push(image: str, name: str) -> str:
    """Push a local buildah image as `NAME:TAG`; returns the reference that pods use."""
    if not serves():
        raise ClusterError(f"the registry at {ADDRESS} does not answer; start it with `python -m cluster up`")
    run("buildah", "push", "--disable-compression=false", "--tls-verify=false", image, f"docker://{reference(name)}")
    return reference(name)


def tags() -> dict[str, str]:
    """The digest of each `NAME:TAG` in the registry."""
    found = {}
    for repository in json.loads(_request("/v2/_catalog?n=1000"))["repositories"]:
        for tag in json.loads(_request(f"/v2/{repository}/tags/list"))["tags"] or []:
            found[f"{repository}:{tag}"] = digest(f"{repository}:{tag}")
    return {name: value for name, value in found.items() if value}


def digest(name: str) -> str:
    """The digest of `NAME:TAG`, or nothing if the registry lacks it."""
    repository, _, tag = name.rpartition(":")
    request = urllib.request.Request(f"http://{ADDRESS}/v2/{repository}/manifests/{tag}", method="HEAD")
    request.add_header("Accept", _MANIFESTS)
    try:
        with _opener().open(request, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])
    except urllib.error.HTTPError as error:
        error.close()
        return ""


def collect_garbage(state: State) -> None:
    """Remove what no tag needs. The registry is down meanwhile: it must not take in anything."""
    pid = processes.running(state).get("registry")
    if pid:
        processes.stop([pid])
    if state.registry.is_dir():
        run(binary("registry"), "garbage-collect", "--delete-untagged", _configure(state), env=_ENVIRONMENT)
    if pid:
        start(state)


def _configure(state: State) -> Path:
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(state.registry)}, "delete": {"enabled": True}},
        "http": {"addr": ADDRESS},
    }
    file = state.folder / "registry.json"
    file.write_text(json.dumps(config, indent=2))
    return file


def _request(path: str) -> str:
    with _opener().open(f"http://{ADDRESS}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def _opener() -> urllib.request.OpenerDirector:
    """Loopback is never reached through a proxy."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
