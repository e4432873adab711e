"""Builds kubedistill's images with docker, podman or buildah, whichever is there: `make images ARGS="operator"`.

Where no registry can be reached, they stand on a Debian that debootstrap makes, which needs root.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ("operator", "runtime-cpu", "runtime")
BASES = {"operator": "BASE", "runtime-cpu": "BASE", "runtime-cpu-base": "BASE", "runtime": "CUDA_BASE"}
"""The build argument that names the base of each image, and of the stage that tests mount an environment into."""
DEBIAN = "localhost/kubedistill-base:bookworm"
_SUITE, _PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
_LEFT_OUT = (
    "var/cache/apt", "var/lib/apt/lists", "var/cache/debconf", "usr/share/doc", "usr/share/man", "usr/share/locale",
)  # fmt: skip
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def find_engine() -> str:
    """The first engine that answers; exits where none does."""
    for engine in ("docker", "podman", "buildah"):
        if shutil.which(engine) and _runs(engine, "info"):
            return engine
    sys.exit("images: none of docker, podman and buildah is there and answers; install one of them")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build what is asked for; the default is what can be built and tried without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(IMAGES)}; default: the first two")
    parser.add_argument("--base", help="the base image; default: the Dockerfile's, or Debian where it can't be had")
    parser.add_argument("--torch-index", metavar="URL", help="an index with CPU builds of torch, for runtime-cpu")
    parser.add_argument("--prefix", default="kubedistill", help="registry and organisation (default: kubedistill)")
    options = parser.parse_args(arguments)
    if unknown := set(options.images) - set(BASES):
        parser.error(f"there is no image {', '.join(sorted(unknown))}; choose from {', '.join(IMAGES)}")
    engine = find_engine()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for image in options.images or IMAGES[:2]:
        tag = f"{options.prefix}/{image}:{version}"
        base = options.base or find_base(engine, argument=BASES[image])
        build(engine, image, tag=tag, version=version, base=base, torch_index=options.torch_index)
        print(f"images: built {tag} on {base or 'its own base'} with {engine}", flush=True)


def build(engine: str, image: str, *, tag: str, version: str, base: str | None, torch_index: str | None) -> None:
    """Build one target of the Dockerfile."""
    arguments = ["--target", image, "--tag", tag, "--file", str(ROOT / "Dockerfile")]
    arguments += ["--label", f"org.opencontainers.image.title=kubedistill {image}"]
    arguments += ["--label", "org.opencontainers.image.licenses=Apache-2.0"]
    arguments += ["--label", f"org.opencontainers.image.version={version}"]
    arguments += ["--label", f"org.opencontainers.image.revision={_revision()}"]
    arguments += ["--build-arg", f"{BASES[image]}={base}"] if base else []
    arguments += ["--build-arg", f"TORCH_INDEX={torch_index}"] if torch_index and image == "runtime-cpu" else []
    bundle = next((os.environ[name] for name in _CA_VARIABLES if os.environ.get(name)), None)
    arguments += ["--secret", f"id=ca,src={bundle}"] if bundle else []
    _build(engine, *arguments, str(ROOT))


def find_base(engine: str, *, argument: str) -> str | None:
    """None where the Dockerfile's own base can be had, else a Debian, made where it isn't there yet."""
    default = next(
        line.partition("=")[2]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith(f"ARG {argument}=")
    )
    if _runs(engine, "pull", default):
        return None
    if argument == "CUDA_BASE":
        sys.exit(f"images: {default} can't be had; name a base with CUDA by --base")
    if not _runs(engine, "inspect", DEBIAN) and not _runs(engine, "inspect", "--type", "image", DEBIAN):
        print(f"images: {default} can't be had; making {DEBIAN} with debootstrap", flush=True)
        make_debian(engine)
    return DEBIAN


def make_debian(engine: str) -> None:
    """Make the smallest Debian that has Python, and import it as an image."""
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        sys.exit("images: that needs debootstrap, and root; install it, or name a base that can be had by --base")
    with tempfile.TemporaryDirectory(prefix="kubedistill-images-") as made:
        folder = Path(made)
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(folder / "root")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for left in _LEFT_OUT:
            shutil.rmtree(folder / "root" / left)
            (folder / "root" / left).mkdir()
        subprocess.run(["tar", "-C", str(folder / "root"), "-cf", str(folder / "base.tar"), "."], check=True)
        shutil.rmtree(folder / "root")
        (folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        _build(engine, "--tag", DEBIAN, str(folder))


def _build(engine: str, *arguments: str) -> None:
    # Inside a container or a sandbox there is no other isolation to be had, and a build needs none from itself.
    buildah = ("--isolation", "chroot", "--layers") if engine == "buildah" else ()
    subprocess.run([engine, "build", *buildah, "--network", "host", *arguments], check=True)


def _revision() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
