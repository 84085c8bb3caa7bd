"""The operator's settings, from its environment. The chart's values become these variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A variable that is missing or not what it must be; str() names it and its value."""


@dataclass(frozen=True)
class Settings:
    """trial_image: for searches that name none. namespaces: empty for the whole cluster. prometheus_url: empty to
    scrape the trials directly. workers: searches that are reconciled at once."""

    trial_image: str
    namespaces: tuple[str, ...] = ()
    prometheus_url: str = ""
    metrics_port: int = 9090
    health_port: int = 8080
    workers: int = 4
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables ARCHSEARCH_*. Raises SettingsError."""
        image = environment.get("ARCHSEARCH_TRIAL_IMAGE", "").strip()
        if not image:
            raise SettingsError("ARCHSEARCH_TRIAL_IMAGE must name the trial image, but is not set")
        level = environment.get("ARCHSEARCH_LOG_LEVEL", "INFO").upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise SettingsError(f"ARCHSEARCH_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, but got {level!r}")
        names = environment.get("ARCHSEARCH_NAMESPACE", "")
        return cls(
            trial_image=image,
            namespaces=tuple(name.strip() for name in names.split(",") if name.strip()),
            prometheus_url=environment.get("ARCHSEARCH_PROMETHEUS_URL", "").strip().rstrip("/"),
            metrics_port=_number(environment, "ARCHSEARCH_METRICS_PORT", 9090),
            health_port=_number(environment, "ARCHSEARCH_HEALTH_PORT", 8080),
            workers=_number(environment, "ARCHSEARCH_WORKERS", 4),
            log_level=level,
        )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise SettingsError(f"{name} must be a number from 1 to 65535, but got {text!r}")
    return int(text)
