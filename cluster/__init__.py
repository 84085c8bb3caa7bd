"""A real single-node Kubernetes without Docker, for development, tests and the demo. See README.md in this folder."""

from cluster.errors import ClusterError
from cluster.full import FullCluster
from cluster.planes import ControlPlane

__all__ = ["ClusterError", "ControlPlane", "FullCluster"]
