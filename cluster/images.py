"""Builds the project's images with buildah and pushes them to the cluster's registry; what is unchanged is skipped.

What a Dockerfile gets, with the repository's root as its context:
    build argument BASE_IMAGE     an image with Python 3.11 at /usr/bin/python3, `venv` and CA certificates. Here it is
                                  a local Debian; a published build uses an official slim Python image.
    build argument SSL_CERT_FILE  the host's certificate authorities, which are mounted read-only at /etc/ssl/certs
    volume /cache                 kept between builds: point UV_CACHE_DIR at /cache/uv and PIP_CACHE_DIR at /cache/pip
What .dockerignore leaves out is not in the context. The network is the host's. Layers are cached: copy what changes
seldom (pyproject.toml, uv.lock) first, code last.
"""

import hashlib
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import node, registry
from cluster.binaries import PROMETHEUS_VERSION, binary
from cluster.commands import run
from cluster.disk import explained
from cluster.errors import ClusterError
from cluster.paths import ADDONS, REPOSITORY, TOOLS, State, cache_root
from cluster.progress import say, step

BASE = "localhost/archsearch-base:bookworm-python3.11"
_BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
# Raise it when what `_build_base` does changes.
_BASE_REVISION = 1

_INPUTS = "archsearch.dev/inputs"
_CERTIFICATES = Path("/etc/ssl/certs")


@dataclass(frozen=True)
class Image:
    """An image of the project: the name it has in the registry, and what it is built from.

    program: for an image that holds nothing but a program of binaries.py; the context is then the program's folder.
    """

    name: str
    dockerfile: Path
    program: str = ""

    @property
    def context(self) -> Path:
        """The folder that the Dockerfile copies from."""
        return binary(self.program).parent if self.program else REPOSITORY

    @property
    def local_name(self) -> str:
        """What buildah calls it."""
        return f"localhost/{self.name}"


PROMETHEUS = Image(f"prometheus:{PROMETHEUS_VERSION}", ADDONS / "prometheus" / "Dockerfile", program="prometheus")
PAUSE = Image("pause:1", TOOLS / "pause" / "Dockerfile", program="pause")
PROJECT = (
    Image("archsearch-operator:dev", REPOSITORY / "operator" / "Dockerfile"),
    Image("archsearch-trial:dev", REPOSITORY / "trial_image" / "Dockerfile"),
)


def publish(state: State, image: str, name: str) -> str:
    """Push a local image to the registry as `NAME:TAG`, and let the node have it in place of what it replaces."""
    reference = registry.push(image, name)
    node.forget_replaced_images(state, registry.ADDRESS, registry.tags().values())
    node.pull(state, reference)
    return reference


def ensure_pause(state: State) -> str:
    """Push the image that holds a pod's namespaces if the registry lacks it; returns the reference."""
    if not registry.digest(PAUSE.name):
        _build(state, PAUSE)
    return registry.reference(PAUSE.name)


def ensure(state: State, *wanted: Image) -> list[str]:
    """Build and push these images where their Dockerfiles exist; returns the references that pods use."""
    present = [image for image in wanted if image.dockerfile.exists()]
    for image in wanted:
        if image not in present:
            say(f"  - {image.name}: no {image.dockerfile.relative_to(REPOSITORY)} yet, skipped")
    if not registry.serves():
        raise ClusterError("images are pushed to the cluster's registry; start it with `python -m cluster up`")
    ensure_base()
    return [_build(state, image) for image in present]


def _build(state: State, image: Image) -> str:
    """Build an image unless its inputs are those it was built from, and push it."""
    key = _key(image)
    if _label(image.local_name) != key:
        with step(f"build {image.name}"), explained():
            # The layers of a stage that the final image only copies from belong to no image, and would be pruned with
            # what is outdated; under names of their own they stay, and a change of code does not install anything.
            for stage in stages(image.dockerfile.read_text())[:-1]:
                _bud(image, f"{image.local_name}-stage-{stage}", "--target", stage)
            _bud(image, image.local_name, "--label", f"{_INPUTS}={key}")
            run("buildah", "rmi", "--prune", check=False)
    with step(f"push {image.name}"), explained():
        return publish(state, image.local_name, image.name)


def _bud(image: Image, tag: str, *options: str) -> None:
    cache = cache_root() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    run(
        *("buildah", "bud", "--isolation", "chroot", "--network", "host", "--layers", "--format", "oci"),
        *("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", "--volume", f"{cache}:/cache"),
        *("--build-arg", f"BASE_IMAGE={BASE}"),
        *("--build-arg", f"SSL_CERT_FILE={_CERTIFICATES / 'ca-certificates.crt'}"),
        *("--pull-never", *options),
        *("--tag", tag, "--file", str(image.dockerfile), str(image.context)),
    )


def ensure_base() -> None:
    """Build the local base image unless it is there."""
    key = hashlib.sha256(repr((_BASE_REVISION, _BASE_PACKAGES)).encode()).hexdigest()
    if _label(BASE) != key:
        with step(f"build {BASE} with debootstrap"), explained():
            _build_base(key)


def _build_base(key: str) -> None:
    root = cache_root() / "base-root"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(_BASE_PACKAGES)}", "bookworm", root)
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    # The official Python images have the short name.
    (root / "usr/bin/python").symlink_to("python3")
    container = run("buildah", "from", "scratch").strip()
    try:
        run("buildah", "add", "--quiet", container, root, "/")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        run(
            *("buildah", "config", "--env", f"PATH={path}", "--env", "LANG=C.UTF-8", "--cmd", "python3"),
            *("--label", f"{_INPUTS}={key}", container),
        )
        run("buildah", "commit", "--quiet", "--format", "oci", container, BASE)
    finally:
        run("buildah", "rm", container, check=False)
        shutil.rmtree(root, ignore_errors=True)


def _label(image: str) -> str:
    """The key of the inputs that a local image was built from; empty if there is no such image."""
    template = f'{{{{index .OCIv1.Config.Labels "{_INPUTS}"}}}}'
    return run("buildah", "inspect", "--type", "image", "--format", template, image, check=False).strip()


def _key(image: Image) -> str:
    """A hash of the Dockerfile, the base image and every file that the Dockerfile can copy."""
    digest = hashlib.sha256(image.dockerfile.read_bytes())
    if not image.program:
        digest.update(run("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", BASE).encode())
    context = image.context
    for path in sorted(set(_copied_files(image, context))):
        digest.update(f"{path.relative_to(context)}\0{path.stat().st_mode:o}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _copied_files(image: Image, context: Path) -> Iterator[Path]:
    for source in copied_sources(image.dockerfile.read_text()):
        for found in context.glob(source.strip("/") or "*"):
            inside = found.rglob("*") if found.is_dir() else [found]
            yield from (path for path in inside if path.is_file() and path.suffix != ".pyc")


def copied_sources(dockerfile: str) -> Iterator[str]:
    """The paths in the build context that COPY, ADD and bind mounts name, patterns included."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE))
    for line in joined.splitlines():
        words = shlex.split(line.replace(",", " ") if re.match(r"\s*(COPY|ADD)\s+\[", line) else line, comments=True)
        if not words:
            continue
        if words[0].upper() in ("COPY", "ADD") and not any(word.startswith("--from=") for word in words):
            arguments = [word.strip("[]") for word in words[1:] if not word.startswith("--")]
            yield from (word for word in arguments[:-1] if word)
        for word in words:
            mount = dict(part.partition("=")[::2] for part in word.removeprefix("--mount=").split(","))
            if word.startswith("--mount=") and mount.get("type") == "bind" and "from" not in mount:
                yield mount.get("source") or mount.get("src") or "."


def stages(dockerfile: str) -> list[str]:
    """The name of each stage of a Dockerfile, or its number."""
    found = re.findall(r"^FROM\s+\S+(?:[ \t]+AS[ \t]+(\S+))?", dockerfile, flags=re.MULTILINE | re.IGNORECASE)
    return [name or str(number) for number, name in enumerate(found)]
