"""The base of the runtime-cpu image, with this clone's environment in it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.config_map_server import make_server_credentials
from support.image_exclusions import without_left_out
from support.image_root import ImageRoot, unpack
from support.image_tools import BUILD, find_engine
from support.runtime_pod import ENVIRONMENT, RuntimePod


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> ImageRoot:
    """Return the stage that runtime-cpu stands on, built by the product's own command and unpacked."""
    command = ["python3", str(BUILD), "runtime-cpu-base", "--prefix", "localhost/kubedistill-test"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    tag = re.search(r"^images: built (\S+) on ", built.stdout, flags=re.MULTILINE)
    assert tag, built.stdout
    root = unpack(find_engine(), tag[1], tmp_path_factory.mktemp("base") / "root")
    (root.folder / "root").chmod(0o755)  # this clone or its Python may be below it
    return root


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the environment without what the image leaves out."""
    with without_left_out(ENVIRONMENT, tmp_path_factory.mktemp("environment") / "overlay") as folder:
        yield folder


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_server_credentials(tmp_path_factory.mktemp("credentials") / "server")


@pytest.fixture
def pod(base: ImageRoot, environment: Path, credentials: Path, tmp_path: Path) -> RuntimePod:
    return RuntimePod(base, environment, credentials, tmp_path)
