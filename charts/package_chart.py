"""The release of the chart: `make package` writes an archive, a list of images and checksums to dist/.

Helm writes the current time into an archive; this program always writes the same bytes.
"""

import argparse
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from make_chart import CHART, images

DIST = Path(__file__).parents[1] / "dist"


def package(helm: Path, *, into: Path) -> list[Path]:
    """Write the files of a release; raises CalledProcessError if helm fails, after helm has printed the reason."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([helm, "package", CHART, "--destination", folder], check=True, stdout=subprocess.DEVNULL)
        (packed,) = Path(folder).iterdir()
        archive = into / packed.name
        archive.write_bytes(without_times(packed.read_bytes()))
    listed = into / "images.txt"
    listed.write_text("".join(f"{image}\n" for image in images().values()), encoding="utf-8")
    sums = into / "SHA256SUMS"
    sums.write_text(
        "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (listed, archive)),
        encoding="utf-8",
    )
    return [archive, listed, sums]


def without_times(archive: bytes) -> bytes:
    """Return a .tgz with the same files in the same order, all with time 0."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as source,
        gzip.GzipFile(filename="", fileobj=made, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as target,
    ):
        for member in source:
            member.mtime, member.pax_headers = 0, {}
            target.addfile(member, source.extractfile(member))
    return made.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Package the chart into dist/ and print what was written."""
    parser = argparse.ArgumentParser(description="Package the chart into dist/.")
    parser.add_argument("--helm", type=Path, required=True, help="path of helm")
    for file in package(parser.parse_args(arguments).helm, into=DIST):
        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
