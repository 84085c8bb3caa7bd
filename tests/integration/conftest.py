"""The operator from its chart on a cluster, and namespaces in which tests are users."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from user import User

from cluster import demo, images
from cluster.commands import run
from cluster.paths import DEFAULT_NAME, State

HERE = Path(__file__).resolve().parent
DOCKERFILE = """
FROM {base}
COPY hostile.py /hostile.py
USER 65532
ENTRYPOINT ["python3", "/hostile.py"]
"""


@pytest.fixture(scope="session")
def target(bare_target: demo.Target) -> demo.Target:
    """A cluster with the operator, its images and a Prometheus."""
    demo.install(bare_target)
    return bare_target


@pytest.fixture
def user(target: demo.Target) -> Iterator[User]:
    """Somebody with a namespace of their own."""
    someone = User(target, f"it-{uuid.uuid4().hex[:6]}")
    demo.provide(target, someone.namespace)
    yield someone
    print(someone.report())
    target.kubectl("delete", "namespace", someone.namespace, "--wait=false")
    if target.kubeconfig is not None:
        target.kubectl("delete", "pv", f"{someone.namespace}-artifacts", "--ignore-not-found", "--wait=false")
        # What a pod on its way out still writes is written to nothing.
        shutil.rmtree(demo.volume_folder(someone.namespace), ignore_errors=True)


@pytest.fixture(scope="session")
def own_task_image(target: demo.Target) -> str:
    """The image of the example with a task of its own."""
    if target.kubeconfig is None:
        pytest.skip("CLUSTER=current: the image is pushed to this machine's own registry only")
    context = HERE.parents[1] / "examples" / "custom-task"
    trial = next(image.local_name for image in images.PROJECT if "trial" in image.name)
    run(
        *("buildah", "bud", "--isolation", "chroot", "--network", "host", "--pull-never"),
        *("--build-arg", f"TRIAL_IMAGE={trial}", "-t", "localhost/rotations:test", context),
    )
    return images.publish(State(DEFAULT_NAME), "localhost/rotations:test", "rotations:test")


@pytest.fixture(scope="session")
def hostile_image(target: demo.Target, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that breaks the contract; see hostile.py."""
    if target.kubeconfig is None:
        pytest.skip("CLUSTER=current: the hostile image is pushed to this machine's own registry only")
    context = tmp_path_factory.mktemp("hostile")
    images.ensure_base()
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=images.BASE))
    shutil.copy(HERE / "hostile.py", context)
    run("buildah", "bud", "--isolation", "chroot", "--network", "host", "-t", "localhost/hostile:test", context)
    return images.publish(State(DEFAULT_NAME), "localhost/hostile:test", "hostile:test")
