"""The `archsearch` command: `run`, `validate`, `picture` and `version`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import yaml

import archsearch
from archsearch.api.base import API_VERSION
from archsearch.api.load import InvalidSpec, Metadata, read_search
from archsearch.api.search import KIND, ArchitectureSearchSpec
from archsearch.local import CannotStart, Folder, progress_for, run_search
from archsearch.local.process import COMMAND
from archsearch.local.session import search_of
from archsearch.local.summary import shown, succeeded, summary
from archsearch.pictures import draw
from archsearch.spaces import InvalidArchitecture, space_of

OK: Final = 0
NOT_SUCCEEDED: Final = 1
NOT_STARTED: Final = 2

RUN: Final = """\
Runs a search without a cluster: the same plan and the same work as on one, in processes of this machine.
Interrupted and started again with the same --out it continues; finished trials are kept, others go on from their
checkpoints. Of the spec only budget, suspend and queue may change in between.

exit codes: 0 a result, 1 the search ended without one, 2 nothing was started, 130 Ctrl-C"""


def main(arguments: Sequence[str] | None = None, *, command: Sequence[str] = COMMAND) -> int:
    """Do what the command line says. Returns the exit code; user errors are told in a line and never raised.

    command: the program that does a trial's work.
    """
    options = parser().parse_args(arguments)
    options.command = command
    try:
        return int(options.do(options))
    except InvalidSpec as error:
        for problem in error.problems:
            _complain(f"{options.spec}: {problem}")
        return NOT_STARTED
    except CannotStart as error:
        _complain(str(error))
        return NOT_STARTED
    except BrokenPipeError:
        sys.stderr.close()  # Python would complain at its end that nobody reads
        return NOT_SUCCEEDED
    except OSError as error:
        _complain(f"the run ended: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return NOT_SUCCEEDED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="archsearch", description="Neural architecture search.")
    commands = found.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run a search without a cluster", description=RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    run.add_argument("spec", type=Path, help="an ArchitectureSearch in YAML")
    run.add_argument("--volume", action="append", default=[], metavar="CLAIM=DIR",
                     help="the folder that stands for a claim of the spec; that of the artifacts is by default one "
                     "of --out")  # fmt: skip
    run.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                     help="change a field of the spec: budget.maxTrials=4")  # fmt: skip
    run.add_argument("--out", type=Path, metavar="DIR", help="where everything is written; by default out/NAME")
    run.add_argument("--dry-run", action="store_true", help="print the spec with its defaults and run nothing")
    run.set_defaults(do=_run)
    validate = commands.add_parser("validate", help="say all that is wrong with a file")
    validate.add_argument("specs", type=Path, nargs="+", metavar="FILE")
    validate.set_defaults(do=_validate)
    picture = commands.add_parser("picture", help="draw an architecture of a spec's space as an SVG")
    picture.add_argument("spec", type=Path, help="an ArchitectureSearch in YAML")
    picture.add_argument("--genotype", required=True, metavar="JSON|FILE",
                         help="the architecture, as in status.best.genotype, or a file with it")  # fmt: skip
    picture.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.svg", help="where it is written")
    picture.set_defaults(do=_picture)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(do=_version)
    return found


def _run(options: argparse.Namespace) -> int:
    metadata, spec = _read(options.spec, options.overrides)
    name = str(metadata["name"])
    if options.dry_run:
        return _dry_run(metadata, spec)
    if options.command is COMMAND and importlib.util.find_spec("torch") is None:
        raise CannotStart("the work needs PyTorch, which is not installed: pip install 'archsearch[trial]'")
    folder = Folder((options.out or Path("out") / name).absolute())
    progress = progress_for(sys.stdout)
    status, stopped = run_search(
        name, spec, folder.root, volumes=options.volume, progress=progress, command=options.command
    )
    if stopped is not None and status.completion_time is None:
        print(f"stopped after {status.trials.done} trials; the same command goes on from there")
        return 128 + stopped
    print("\n".join(summary(status, folder)))
    if succeeded(status):
        if spec.artifacts is None and spec.retrain.top_k:
            print("no model was kept: add artifacts to the spec, or --set artifacts.claimName=artifacts")
        return OK
    if spec.suspend:
        print("the spec is suspended: start it again with --set suspend=false")
    elif status.stage == "Preflight":
        print(f"a search that fails its preflight is over: correct it, and remove {shown(folder.root)} before you "
              "start it again")  # fmt: skip
    return NOT_SUCCEEDED


def _dry_run(metadata: Metadata, spec: ArchitectureSearchSpec) -> int:
    search = search_of(str(metadata["name"]), spec, "00000")
    assert search.spec.space is not None  # noqa: S101 - the spec is resolved
    space = space_of(search.spec.space)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": search.spec.wire(),
    }
    print(f"# {space.name}: {space.size():,} architectures, hash {space.hash()}")
    print(yaml.safe_dump(document, sort_keys=False, width=120), end="")
    return OK


def _validate(options: argparse.Namespace) -> int:
    code = OK
    for path in options.specs:
        try:
            _read(path)
        except InvalidSpec as error:
            for problem in error.problems:
                print(f"{path}: {problem}")
            code = NOT_STARTED
        except CannotStart as error:
            print(error)
            code = NOT_STARTED
        else:
            print(f"{path}: valid")
    return code


def _picture(options: argparse.Namespace) -> int:
    metadata, spec = _read(options.spec)
    search = search_of(str(metadata["name"]), spec, "00000")
    assert search.spec.space is not None  # noqa: S101 - the spec is resolved
    space = space_of(search.spec.space)
    given: str = options.genotype
    if not given.lstrip().startswith("{"):
        try:
            given = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(f"--genotype {given} must be JSON or a file, and cannot be read: {error}") from None
    try:
        values = json.loads(given)
        if not isinstance(values, dict):
            raise CannotStart(f"--genotype must be an object of choices and values, but got {given.strip():.80}")
        architecture = space.architecture(values)
    except (json.JSONDecodeError, InvalidArchitecture) as error:
        raise CannotStart(f"--genotype: {error}") from None
    options.out.write_text(draw(space, architecture), encoding="utf-8")
    print(f"{options.out}: {space.name} {architecture.id}")
    return OK


def _version(options: argparse.Namespace) -> int:  # noqa: ARG001 - all commands are called alike
    print(f"archsearch {archsearch.__version__}")
    return OK


def _read(path: Path, overrides: Sequence[str] = ()) -> tuple[Metadata, ArchitectureSearchSpec]:
    try:
        return read_search(path, overrides)
    except OSError as error:
        raise CannotStart(f"{path} cannot be read: {error.strerror}") from None


def _complain(text: str) -> None:
    with suppress(OSError):  # the terminal may be what is gone
        print(f"archsearch: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
