"""The verbs: `python -m cluster <verb>`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import addons, binaries, demo, full, images, node, planes, status, volumes
from cluster.binaries import binary
from cluster.client import Client
from cluster.errors import ClusterError
from cluster.paths import DEFAULT_NAME, State
from cluster.progress import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; `python -m cluster up` or `down` puts things in order", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace) -> int:
    state = State(options.name)
    match options.verb:
        case "up":
            return _up(options, state)
        case "down":
            if status.is_plane(state):
                planes.stop(state)
            else:
                full.down(state.name, wipe=options.wipe)
        case "status":
            return status.report(state)
        case "kubeconfig":
            print(_required(state).kubeconfig)
        case "tool":
            print(binary(options.tool))
        case "build":
            return _build(options)
        case "push":
            print(images.publish(state, options.image, options.as_name or Path(options.image).name))
        case "images":
            only = [image for image in (*images.PROJECT, images.PROMETHEUS) if options.only in (None, image.name)]
            print("\n".join(images.ensure(state, *only)))
        case "demo":
            return demo.demo(options.spec)
        case "addon":
            addons.prometheus(_required(state))
        case "volume":
            volumes.create(
                Client(_required(state).kubeconfig),
                options.volume,
                options.path,
                namespace=options.namespace,
                read_only=options.read_only,
            )
        case "fake-gpus":
            node.fake_gpus(Client(_required(state).kubeconfig), options.count)
    return 0


def _up(options: argparse.Namespace, state: State) -> int:
    if options.control_plane_only:
        planes.start(state.name, ports_from=options.ports_from)
    elif options.ports_from is not None:
        raise ClusterError("--ports-from is for control planes; the full cluster has fixed ports")
    elif not full.up(state.name):
        say(f"  cluster {state.name} is up already")
    print(state.kubeconfig)
    return 0


def _build(options: argparse.Namespace) -> int:
    if options.if_possible and (reason := binaries.missing(*options.modules)):
        say(f"  - {reason}; tests that need it are skipped")
        return 0
    binaries.build(*options.modules)
    return 0


def _required(state: State) -> State:
    if not state.kubeconfig.exists():
        raise ClusterError(f"there is no cluster {state.name!r}; start it with `python -m cluster up`")
    return state


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description="A real Kubernetes on one machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, what: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=what, description=what)
        added.add_argument("--name", default=DEFAULT_NAME, help=f"the cluster (default {DEFAULT_NAME})")
        return added

    up = verb("up", "boot the cluster; does nothing if it is up and in order")
    up.add_argument("--control-plane-only", action="store_true", help="etcd, API server and controllers, no node")
    up.add_argument("--ports-from", type=int, metavar="N", help="first of three ports of a control plane")
    down = verb("down", "stop the cluster and leave nothing behind but caches")
    down.add_argument("--wipe", action="store_true", help="remove its caches too: registry, images, logs")
    verb("status", "what runs; exit code 0 if all of it does, else 1")
    verb("kubeconfig", "print the path of the administrator's kubeconfig")
    tool = verb("tool", "print the path of a program: kubectl, helm, promtool, kwok, …")
    tool.add_argument("tool")
    build = verb("build", "build programs that are missing, before something that must not take long needs them")
    build.add_argument("modules", nargs="+", choices=list(binaries.MODULES), metavar="MODULE")
    build.add_argument("--if-possible", action="store_true", help="where there is no Go, say so and do nothing")
    push = verb("push", "push a local buildah image to the cluster's registry and print what pods call it")
    push.add_argument("image")
    push.add_argument("as_name", nargs="?", metavar="NAME:TAG")
    built = verb("images", "build and push the project's images where they changed")
    built.add_argument("only", nargs="?", metavar="NAME:TAG", help="only this one")
    shown = verb("demo", "install the operator, run a search and print its result")
    shown.add_argument("spec", type=Path, nargs="?", default=Path("examples/darts-digits.yaml"))
    addon = verb("addon", "apply an add-on and wait until it is ready")
    addon.add_argument("addon", choices=["prometheus"])
    volume = verb("volume", "create a persistent volume and claim for a folder of this machine")
    volume.add_argument("volume", metavar="NAME")
    volume.add_argument("path", type=Path)
    volume.add_argument("--namespace", default="default")
    volume.add_argument("--read-only", action="store_true", help="leave the folder's owner and mode alone")
    gpus = verb("fake-gpus", "let the node claim this many GPUs; 0 takes the claim back")
    gpus.add_argument("count", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
