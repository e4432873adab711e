"""Helm as it renders, without a cluster."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from support.chart_sets import Manifest, Render, values_of
from support.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> Callable[[str], list[Manifest]]:
    """Return a function that gives what a value set installs, as release `team` in the namespace `somewhere`."""
    return cache(lambda name: helm.template("team", namespace="somewhere", values=values_of(name)))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Return a function of values, by their names with `__` for a dot, that gives what they install."""

    def with_values(**values: Any) -> list[Manifest]:
        tree: dict[str, Any] = {}
        for path, value in values.items():
            *steps, last = path.split("__")
            place = tree
            for step in steps:
                place = place.setdefault(step, {})
            place[last] = value
        return helm.template("team", namespace="somewhere", values=tree)

    return with_values
