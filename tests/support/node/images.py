"""The product's images: built by its own command, kept while they are of this tree, and imported by containerd."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.node.requirements import NotPossible

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "deploy" / "images" / "build.py"
PREFIX, NAMES = "kubedistill", ("operator", "runtime-cpu")
SOURCES = (
    "Dockerfile", "deploy/images", "pyproject.toml", "uv.lock", "README.md", "LICENSE", "api", "operator", "runtime",
)  # fmt: skip
"""What goes into an image."""
_REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the engine's store; `id` is that of its content."""

    tag: str
    id: str
    revision: str

    @property
    def reference(self) -> str:
        """The tag as a kubelet reads it."""
        return self.tag if self.tag.startswith("localhost/") else f"docker.io/{self.tag}"


def make_images(version: str, *, force: bool) -> list[Image]:
    """Build the images with `deploy/images/build.py`, unless they are there and of this tree."""
    made = []
    for name in NAMES:
        tag = f"{PREFIX}/{name}:{version}"
        image = find_image(tag)
        if force or image is None or not is_of_this_tree(image.revision):
            subprocess.run([sys.executable, str(BUILD), name], check=True, cwd=ROOT)
            image = find_image(tag)
        if image is None:
            raise NotPossible(f"{BUILD} made no image {tag} in buildah's store; is docker or podman here too?")
        made.append(image)
    return made


def is_of_this_tree(revision: str, *, root: Path = ROOT) -> bool:
    """Return whether nothing that goes into an image differs between a commit and the files as they are."""
    command = ["git", "diff", "--quiet", revision, "--", *SOURCES]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0


def make_tiny_image(tag: str, program: Path, command: Sequence[str]) -> Image:
    """Make an image of one static program."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(program, folder)
        (Path(folder) / "Dockerfile").write_text(
            f"FROM scratch\nCOPY {program.name} /{program.name}\nENTRYPOINT {json.dumps(list(command))}\n"
        )
        _buildah("build", "--isolation", "chroot", "--layers", "--tag", tag, folder)
    image = find_image(tag)
    assert image, f"{tag} was built"
    return image


def find_image(tag: str) -> Image | None:
    """Return an image of buildah's store; None where it is not there."""
    form = f'{{{{.FromImageID}}}} {{{{index .OCIv1.Config.Labels "{_REVISION}"}}}}'
    found = subprocess.run(
        ["buildah", "inspect", "--type", "image", "--format", form, tag], capture_output=True, text=True, check=False
    )
    if found.returncode:
        return None
    content, _, revision = found.stdout.strip().partition(" ")
    return Image(tag, content, revision)


def import_images(images: Sequence[Image], *, ctr: Callable[..., str], folder: Path) -> None:
    """Give images to containerd, but for those that it has from an earlier run; `folder` holds its list of them."""
    file = folder / "imported.json"
    there = json.loads(file.read_text()) if file.is_file() else {}
    known = set(ctr("images", "list", "-q").split())
    for image in images:
        if there.get(image.reference) == image.id and image.reference in known:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as place:
            archive = Path(place) / "image.tar"
            _buildah("push", "--quiet", image.tag, f"docker-archive:{archive}:{image.reference}")
            ctr("images", "import", str(archive))
        there[image.reference] = image.id
        file.write_text(json.dumps(there, indent=2))


def _buildah(*arguments: str) -> None:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"buildah {arguments[0]} failed:\n{done.stderr[-2000:]}")
