"""What the images are made of, as far as that shows without building them: `make images` does that."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.messages import CheckMessage

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPT = ROOT / "deploy" / "images" / "build.py"
IMAGES = ("operator", "runtime-cpu", "runtime")


def stage(name: str) -> str:
    """Return the lines of one target."""
    parts = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    (found,) = [part for part in parts if part.splitlines()[0].endswith(f" AS {name}")]
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_number_that_is_not_root_and_writes_no_bytecode(image: str) -> None:
    lines = stage(image)
    assert "USER 65532:65532\n" in lines
    assert "PYTHONDONTWRITEBYTECODE=1" in lines
    assert "HOME=/tmp" in lines, "the one folder that pods can write"


@pytest.mark.parametrize("image", ["runtime-cpu", "runtime"])
def test_ray_is_found_in_a_login_shell_and_by_a_user_without_a_name(image: str) -> None:
    lines = stage(image)
    profile = re.search(r"RUN echo '(.+)' > /etc/profile.d/\S+\.sh\n", lines)
    assert profile, "KubeRay starts Ray in a login shell where its operator has ENABLE_LOGIN_SHELL"
    path = subprocess.run(
        ["sh", "-c", f"PATH=/bin; {profile[1]}; echo $PATH"], capture_output=True, text=True, check=True
    )
    image_path = re.search(r"PATH=(\S+) HOME", lines)
    assert image_path
    assert image_path[1].startswith(path.stdout.strip().removesuffix("/bin"))
    assert " USER=" in lines, "getpass asks /etc/passwd only where no variable names the user"


@pytest.mark.parametrize(("image", "extra"), list(zip(IMAGES, ("operator", "cpu", "gpu"), strict=True)))
def test_an_image_holds_one_extra_of_the_lock(image: str, extra: str) -> None:
    lines = stage(f"{image}-environment")
    assert re.findall(r"install\.sh \w+ (\w+)", lines) == [extra, extra]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra in extras


def test_the_lock_is_installed_in_a_layer_of_its_own() -> None:
    for image in IMAGES:
        lines = stage(f"{image}-environment")
        assert lines.index("dependencies") < lines.index("--from=source"), (
            "an edit of our code installs nothing else again"
        )


def test_only_installed_files_of_a_working_copy_are_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert {word for line in copied for word in line.split()} <= let_in | {
        "deploy/images/install.sh",
        "deploy/images/left-out.txt",
    }


def test_images_are_built_without_an_environment_of_the_clone() -> None:
    command = ["make", "--no-print-directory", "-n", "images", "ARGS=operator"]
    would = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "deploy/images/build.py operator" in would
    assert ".venv" not in would
    listed = [sys.executable, "-S", "-I", "-c", f"import runpy; runpy.run_path({str(SCRIPT)!r})"]
    assert subprocess.run(listed, check=False).returncode == 0, "it stands on the standard library alone"


def test_an_image_that_does_not_exist_is_refused_with_those_that_do(check_message: CheckMessage) -> None:
    run = subprocess.run([sys.executable, SCRIPT, "gpu"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    check_message(run.stderr.splitlines()[-1], "gpu", "operator", "runtime-cpu", "runtime")


def test_every_image_has_a_base_that_the_dockerfile_names() -> None:
    script = runpy.run_path(str(SCRIPT))
    assert set(script["BASES"]) == {*script["IMAGES"], "runtime-cpu-base"} == {*IMAGES, "runtime-cpu-base"}
    assert all(f"ARG {argument}=" in DOCKERFILE for argument in script["BASES"].values())
