"""The environment of the runtime-cpu image with PyPI's torch or a CPU build: made-up wheels, the real install.sh.

uv itself and the project's build backend come from PyPI.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.image_root import ImageRoot
from support.image_tools import ROOT

PYPROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "kubedistill"
version = "0.1.0"
requires-python = ">=3.11,<3.13"
[project.optional-dependencies]
cpu = ["torch==2.13.0", "grammar-made-up==1.0"]
[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == 'x86_64'"]
[[tool.uv.index]]
url = "{index}"
"""
INSTALL = """
sh /source/install.sh dependencies cpu
sh /source/install.sh project cpu
cd /opt/kubedistill/lib/python3*/site-packages
find torch triton nvidia -name '*.*' 2>/dev/null || true
/opt/uv/bin/uv pip list --quiet --python /opt/kubedistill --format json
"""
ALWAYS = {"kubedistill": "0.1.0", "grammar-made-up": "1.0", "sympy-made-up": "1.0"}
FROM_PYPI = {"torch": "2.13.0", "triton": "3.7.1", "nvidia-cublas": "13.1", "cuda-toolkit": "13.0"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """Yield two indexes, /pypi and /cpu, as PyPI and PyTorch have them."""
    pypi, cpu = tmp_path / "indexes" / "pypi", tmp_path / "indexes" / "cpu"
    make_wheel(pypi, "sympy_made_up", "1.0")
    make_wheel(pypi, "triton", "3.7.1", files=["triton/__init__.py"])
    make_wheel(
        pypi, "nvidia_cublas", "13.1", files=["nvidia/cu13/lib/libcublas.so", "nvidia/cu13/lib/libcusolver.so.12"]
    )
    make_wheel(pypi, "cuda_toolkit", "13.0", requires=["nvidia-cublas"])
    make_wheel(pypi, "grammar_made_up", "1.0", requires=["torch", "triton"])
    linalg = ["torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cuda_linalg.so"]
    make_wheel(pypi, "torch", "2.13.0", requires=["sympy-made-up", "cuda-toolkit", "triton"], files=linalg)
    make_wheel(cpu, "torch", "2.13.0+cpu", requires=["sympy-made-up"], files=linalg[:1])
    handler = functools.partial(_Quiet, directory=str(tmp_path / "indexes"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def make_wheel(
    index: Path, name: str, version: str, *, requires: Sequence[str] = (), files: Sequence[str] = ()
) -> None:
    folder = index / name.replace("_", "-")
    folder.mkdir(parents=True)
    wheel, info = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {one}" for one in requires),
    ]
    contents = dict.fromkeys(files, "") | {
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    (folder / "index.html").write_text(f'<a href="{wheel}">{wheel}</a>')


@pytest.fixture
def source(tmp_path: Path, index: str) -> Path:
    """Return what the Dockerfile copies to /source: a project with a lock."""
    folder = tmp_path / "source"
    (folder / "kubedistill").mkdir(parents=True)
    (folder / "kubedistill" / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(PYPROJECT.format(index=f"{index}/pypi"))
    for name in ("install.sh", "left-out.txt"):
        shutil.copy(ROOT / "deploy" / "images" / name, folder)
    lock = [str(Path(sys.executable).with_name("uv")), "lock", "--quiet", "--no-cache", "--project", str(folder)]
    subprocess.run(lock, check=True)
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("torch_index", "packages", "files"),
    [
        ("", FROM_PYPI, {"torch/lib/libtorch_cpu.so", "nvidia/cu13/lib/libcublas.so"}),
        ("/cpu", {"torch": "2.13.0+cpu"}, {"torch/lib/libtorch_cpu.so"}),
    ],
    ids=["PyPI", "CPU builds"],
)
def test_an_index_of_cpu_builds_replaces_torch_and_all_that_only_it_brings(
    torch_index: str,
    packages: dict[str, str],
    files: set[str],
    base: ImageRoot,
    source: Path,
    index: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "secrets").mkdir()
    if bundle := os.environ.get("SSL_CERT_FILE"):
        shutil.copy(bundle, tmp_path / "secrets" / "ca")
    code, output = base.run(
        ["sh", "-ec", INSTALL],
        user="0:0",
        seconds=800,
        environment={"TORCH_INDEX": f"{index}{torch_index}" if torch_index else "", "HOME": "/tmp"},
        mounts={"/tmp": None, "/opt": None, "/run/secrets": tmp_path / "secrets"},
        writable={"/source": source},
    )
    assert code == 0, output
    *found, listed = output.splitlines()
    assert {one["name"]: one["version"] for one in json.loads(listed)} == ALWAYS | packages
    assert set(found) == files
