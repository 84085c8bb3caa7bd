"""Where things lie: sources in the checkout, binaries in a cache, the state of each cluster in a folder of its own."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
TOOLS = PACKAGE / "tools"
ADDONS = PACKAGE / "addons"

DEFAULT_NAME = "archsearch"
# Names become folder names, cgroup names and parts of socket paths, which Linux limits to 107 bytes.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def cache_root() -> Path:
    """What is worth keeping between clusters and checkouts: binaries and download caches of image builds."""
    return Path(os.environ.get("ARCHSEARCH_CACHE") or Path.home() / ".cache" / "archsearch")


def state_root() -> Path:
    """The folder that holds one folder for each cluster."""
    configured = os.environ.get("ARCHSEARCH_STATE")
    if configured:
        return Path(configured)
    if os.geteuid() == 0:
        return Path("/var/lib/archsearch-cluster")
    return Path.home() / ".local" / "state" / "archsearch-cluster"


def all_states() -> "Iterator[State]":
    """The state of each cluster that is described below the root, whether it runs or not."""
    for description in state_root().glob("*/cluster.json"):
        # A folder that somebody put there, say as a copy, is not a cluster's.
        if _NAME.fullmatch(description.parent.name):
            yield State(description.parent.name)


@dataclass(frozen=True)
class State:
    """The state folder of the cluster called `name`."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ClusterError(
                f"a cluster's name is at most 32 lower-case letters, digits and dashes, but got {self.name!r}"
            )

    @property
    def folder(self) -> Path:
        """Everything of this cluster that is on disk, except what a host's programs insist to keep elsewhere."""
        return state_root() / self.name

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.folder / "logs"

    @property
    def secrets(self) -> Path:
        """Keys, tokens and certificates; mode 0700."""
        return self.folder / "secrets"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; mode 0600."""
        return self.folder / "kubeconfig"

    @property
    def description(self) -> Path:
        """What kind of cluster this is and who owns it; written before its first process starts."""
        return self.folder / "cluster.json"

    @property
    def registry(self) -> Path:
        """Storage of the image registry: a cache, kept when everything else is wiped."""
        return self.folder / "registry"

    @property
    def containerd(self) -> Path:
        """containerd's files; the images in it are a cache."""
        return self.folder / "containerd"

    def create(self) -> None:
        """Create the folders that every cluster has."""
        for folder in (self.folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)
