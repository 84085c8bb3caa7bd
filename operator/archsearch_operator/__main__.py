"""`python -m archsearch_operator`: runs the operator until it is told to stop."""

from __future__ import annotations

import logging
import sys

import kopf

from archsearch_operator.handlers import register
from archsearch_operator.settings import Settings, SettingsError


def main() -> int:
    """Read the settings and run. Exit code 2 for settings that are wrong."""
    try:
        settings = Settings.read()
    except SettingsError as error:
        print(f"archsearch-operator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
    # A line for every probe says nothing.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # The default registry, because it brings kopf's ways to log in.
    registry = kopf.get_default_registry()
    register(settings, registry)
    kopf.run(
        registry=registry,
        namespaces=settings.namespaces,
        clusterwide=not settings.namespaces,
        standalone=True,
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
