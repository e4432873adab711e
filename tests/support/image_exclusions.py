"""What the runtime-cpu image leaves out of PyPI's build of torch, and an environment without it."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).parents[2] / "deploy" / "images" / "left-out.txt"


def patterns() -> list[str]:
    """Return the lines of the list: paths below site-packages, with wildcards."""
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return [line for line in lines if line]


def left_out(site_packages: Path) -> list[Path]:
    """Return what of an environment the image does not have."""
    return [path for pattern in patterns() for path in sorted(site_packages.glob(pattern))]


@contextlib.contextmanager
def without_left_out(environment: Path, scratch: Path) -> Iterator[Path]:
    """Yield a virtual environment without it, as another folder: an overlay, which leaves the environment as it is."""
    scratch.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(scratch)], check=True)  # an overlay's upper can't be one
    try:
        upper, work, merged = (scratch / name for name in ("upper", "work", "merged"))
        for folder in (upper, work, merged):
            folder.mkdir()
        options = f"lowerdir={environment},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True)
        try:
            (site_packages,) = merged.glob("lib/python3*/site-packages")
            for path in left_out(site_packages):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield merged
        finally:
            subprocess.run(["umount", str(merged)], check=True)
    finally:
        subprocess.run(["umount", str(scratch)], check=True)
