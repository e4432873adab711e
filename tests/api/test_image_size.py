"""The size of the runtime-cpu image, from the list of what it leaves out and the files of this environment.

This environment holds all of the image's packages, and also those of the operator and the tests, so the sums are
upper bounds. tests/images runs an engine and a training without what is left out.
"""

import os
import re
import sysconfig
from pathlib import Path

import pytest

from support.image_exclusions import left_out, patterns

SITE_PACKAGES = Path(sysconfig.get_paths()["purelib"])
BASE_BYTES = 200_000_000
"""Debian with Python and the packages of the Dockerfile: 145 MB."""
FOR_GPUS = re.compile(r"(triton|nvidia|cuda)(-|/|_|$)|torch/lib/lib(torch_cuda|c10_cuda|torch_nvshmem|caffe2_nvrtc)")
"""What a CPU build of torch does not bring, by the names of the lock and of torch's own libraries."""


def size(path: Path) -> int:
    if path.is_file():
        return path.lstat().st_size
    return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(path) for name in names)


@pytest.mark.parametrize("pattern", patterns())
def test_every_line_of_the_list_names_files_that_pypis_build_brings(pattern: str) -> None:
    assert list(SITE_PACKAGES.glob(pattern))
    assert not Path(pattern).is_absolute()
    assert ".." not in pattern


def test_with_pypi_alone_the_image_has_at_most_6_5_gb() -> None:
    left = sum(map(size, left_out(SITE_PACKAGES)))
    assert left > 1.5e9
    assert BASE_BYTES + size(SITE_PACKAGES) - left <= 6.5e9


def test_with_a_cpu_build_of_torch_the_image_has_at_most_3_5_gb() -> None:
    for_gpus = [path for path in SITE_PACKAGES.iterdir() if FOR_GPUS.match(path.name)]
    for_gpus += [
        path for path in (SITE_PACKAGES / "torch" / "lib").iterdir() if FOR_GPUS.match(f"torch/lib/{path.name}")
    ]
    assert BASE_BYTES + size(SITE_PACKAGES) - sum(map(size, for_gpus)) <= 3.5e9
