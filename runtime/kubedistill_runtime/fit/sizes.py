"""Sizes: the language model in a configuration, and its numbers."""

from collections.abc import Mapping

from kubedistill.json_values import Json

_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")


def text_config(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the part of a configuration that describes the language model, or all of it if it has no parts."""
    return next((part for name in _TEXT_CONFIGS if isinstance(part := config.get(name), dict)), config)


def size_of(config: Mapping[str, Json], *names: str) -> int:
    """Return the first size in a configuration that has one of these names, or 0 if it has none."""
    found = (config.get(name) for name in names)
    return next((size for size in found if isinstance(size, int) and not isinstance(size, bool)), 0)
