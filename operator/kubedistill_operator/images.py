"""Images: every container image that an installation pulls, for clusters that cannot reach a public registry."""

from kubedistill import __version__
from kubedistill.manifest.settings import Images

OPERATOR = f"kubedistill/operator:{__version__}"
"""The chart's default, which its value `image` replaces."""


def pulled_name(image: str, *, registry: str | None) -> str:
    """Return the name to pull an image by: from the registry of the settings, unless the image names its own."""
    host, slash, _ = image.partition("/")
    names_registry = bool(slash) and (host == "localhost" or "." in host or ":" in host)
    return f"{registry}/{image}" if registry and not names_registry else image


def all_images(images: Images) -> tuple[str, ...]:
    """Return the operator's image and those of the pods that jobs start, each once."""
    named = (OPERATOR, images.runtime, images.runtime_cpu)
    return tuple(dict.fromkeys(pulled_name(image, registry=images.registry) for image in named))
