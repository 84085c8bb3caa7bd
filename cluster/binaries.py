"""Builds the programs of the cluster from the Go modules in `tools/`, once, into a cache.

The versions are those of the committed go.mod and go.sum files, and a module's folder in the cache is named by the hash
of these and of the build's flags: another version is another folder, and checkouts share what they have in common.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.commands import run
from cluster.errors import ClusterError
from cluster.paths import TOOLS, cache_root
from cluster.progress import step

KUBERNETES_VERSION = "v1.34.4"
HELM_VERSION = "v3.22.0"
PROMETHEUS_VERSION = "3.13.5"


@dataclass(frozen=True)
class Module:
    """One Go module of tools: what to build from it in a single `go build`.

    packages: import path of each program by the name it gets.
    """

    name: str
    packages: dict[str, str]
    minutes: float
    linker_flags: str = ""
    tags: str = ""
    sources: tuple[str, ...] = field(default=("go.mod", "go.sum"))

    @property
    def folder(self) -> Path:
        """Where the programs lie in the cache."""
        digest = hashlib.sha256(repr((self.packages, self.linker_flags, self.tags)).encode())
        for source in self.sources:
            digest.update((TOOLS / self.name / source).read_bytes())
        return cache_root() / "bin" / f"{self.name}-{digest.hexdigest()[:12]}"


MODULES = {
    module.name: module
    for module in (
        Module(
            "kubernetes",
            {
                "etcd": "go.etcd.io/etcd/server/v3",
                **{
                    name: f"k8s.io/kubernetes/cmd/{name}"
                    for name in (
                        "kube-apiserver",
                        "kube-controller-manager",
                        "kube-scheduler",
                        "kube-proxy",
                        "kubelet",
                        "kubectl",
                    )
                },
            },
            minutes=8,
            # Without it every component reports v0.0.0.
            linker_flags=f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
        ),
        Module("coredns", {"coredns": "github.com/coredns/coredns"}, minutes=2),
        Module("registry", {"registry": "github.com/distribution/distribution/v3/cmd/registry"}, minutes=2),
        Module(
            "helm",
            {"helm": "helm.sh/helm/v3/cmd/helm"},
            minutes=2,
            linker_flags=f"-X helm.sh/helm/v3/internal/version.version={HELM_VERSION}",
        ),
        Module(
            "prometheus",
            {name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")},
            minutes=3,
            linker_flags=f"-X github.com/prometheus/common/version.Version={PROMETHEUS_VERSION}",
            # Of the many ways to discover targets only the one that is used: a third of the size.
            tags="remove_all_sd,enable_kubernetes_sd",
        ),
        Module("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, minutes=2),
        Module(
            "pause",
            {"pause": "archsearch.dev/cluster/tools/pause"},
            minutes=0.1,
            sources=("go.mod", "main.go"),
        ),
    )
}


def binary(program: str) -> Path:
    """The path of a built program, building its module first if the cache lacks it."""
    for module in MODULES.values():
        if program in module.packages:
            return _built(module) / program
    known = sorted(program for module in MODULES.values() for program in module.packages)
    raise ClusterError(f"unknown tool {program!r}; there are {', '.join(known)}")


def build(*names: str) -> None:
    """Build these modules where the cache lacks them."""
    for name in names:
        _built(MODULES[name])


def missing(*names: str) -> str | None:
    """Why programs of these modules cannot be had here, or None: they are built, or there is Go to build them with."""
    absent = [name for name in names if not MODULES[name].folder.is_dir()]
    if not absent or _go():
        return None
    return f"{', '.join(absent)} cannot be built: install Go 1.26 or newer and put `go` on the PATH"


def _built(module: Module) -> Path:
    folder = module.folder
    if folder.is_dir():
        return folder
    if reason := missing(module.name):
        raise ClusterError(reason)
    with _locked(folder):
        if folder.is_dir():
            return folder
        with step(f"build {', '.join(module.packages)} (about {module.minutes:g} min on 2 cores)"):
            _build(module, folder)
    return folder


def _build(module: Module, folder: Path) -> None:
    """Build into a folder beside the final one and rename it, so that what has the final name is whole."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    run(
        _go() or "go",
        "build",
        "-trimpath",
        f"-ldflags=-s -w {module.linker_flags}".strip(),
        f"-tags={module.tags}",
        "-o",
        f"{partial}/",
        *module.packages.values(),
        cwd=TOOLS / module.name,
        env={"CGO_ENABLED": "0"},
    )
    # The binary of etcd's main package is called after its folder.
    if (partial / "server").exists():
        (partial / "server").rename(partial / "etcd")
    partial.rename(folder)


def _go() -> str | None:
    # The second is where Go's own installer puts it, for a PATH that was never told.
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process builds a folder; the kernel gives the lock back if it is killed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
