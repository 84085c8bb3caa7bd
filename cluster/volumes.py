"""A folder of this machine as a persistent volume, without a provisioner: a volume and a claim bound to each other."""

import os
import stat
from pathlib import Path

from cluster.client import ApiError, Client, Json
from cluster.errors import ClusterError

# The user that the project's containers run as. Kubernetes does not change the owner of a hostPath, fsGroup or not.
POD_USER = 65532
_SIZE = {"storage": "1Ti"}


def create(client: Client, name: str, path: Path, *, namespace: str = "default", read_only: bool = False) -> None:
    """Create the PersistentVolume `NAMESPACE-NAME` and the claim NAME for a folder, ReadWriteMany, bound to each other.

    The folder is made if it is missing, and made writable for the pods' user unless `read_only`.
    """
    folder = path.resolve()
    if read_only and not folder.is_dir():
        raise ClusterError(f"a read-only volume needs a folder that is there, but {folder} is not")
    if not read_only:
        folder.mkdir(parents=True, exist_ok=True)
        _make_writable(folder)
    try:
        client.apply(
            f"/api/v1/namespaces/{namespace}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
        client.apply(f"/api/v1/persistentvolumes/{namespace}-{name}", _volume(name, folder, namespace))
        client.apply(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", _claim(name, namespace))
    except ApiError as error:
        raise ClusterError(f"cannot create the volume {name!r} for {folder}: {error}") from error


def _volume(name: str, folder: Path, namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteMany"],
            "capacity": _SIZE,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }


def _claim(name: str, namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": _SIZE},
            "volumeName": f"{namespace}-{name}",
        },
    }


def _make_writable(folder: Path) -> None:
    """Give the folder to the pods' user, or open it to all where this process may not give it away."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    try:
        os.chown(folder, POD_USER, POD_USER)
        folder.chmod(mode | 0o770)
    except PermissionError:
        folder.chmod(mode | 0o777)
