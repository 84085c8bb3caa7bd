"""Names that the operator writes on objects and reads back from them."""

from __future__ import annotations

from typing import Final

from archsearch.api.base import GROUP

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "archsearch"
SEARCH: Final = f"{GROUP}/search"
TRIAL: Final = f"{GROUP}/trial"
WORK: Final = f"{GROUP}/work"
OPEN: Final = f"{GROUP}/open"
"""On a trial whose result is not recorded, so that open trials can be listed without all the others."""

QUEUE: Final = "kueue.x-k8s.io/queue-name"
PRIORITY: Final = "kueue.x-k8s.io/priority-class"

CONTAINER: Final = "trial"
DATA_MOUNT: Final = "/data"
TABLE_MOUNT: Final = "/table"
ARTIFACTS_MOUNT: Final = "/artifacts"
