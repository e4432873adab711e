"""The README's manifests are the examples' own, its commands exist, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
KUBEDISTILL = str(Path(sys.executable).with_name("kubedistill"))
SHOWN = ("deepseek-v3-to-phi-4-mini", "llama-405b-to-3b")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_manifests_are_those_of_the_examples() -> None:
    texts = [(ROOT / "examples" / name / "job.yaml").read_text(encoding="utf-8") for name in SHOWN]
    assert blocks("yaml") == [text.partition("\n")[2] for text in texts], (
        "the README shows them without their first line"
    )


@pytest.mark.parametrize("name", SHOWN)
def test_shown_manifest_is_valid(name: str) -> None:
    manifest = str(ROOT / "examples" / name / "job.yaml")
    subprocess.run([KUBEDISTILL, "validate", "--quick", manifest], check=True, capture_output=True)


def test_commands_exist() -> None:
    commands = set(re.findall(r"^kubedistill (\w+)", README, re.MULTILINE))
    assert commands == {"init", "validate", "preview", "estimate", "run"}
    for command in commands:
        subprocess.run([KUBEDISTILL, command, "--help"], check=True, capture_output=True)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z][a-z-]*)", README)):
        assert re.search(rf"^{target}:|^\.PHONY:.* {target}( |$)", makefile, re.MULTILINE) or target.startswith(
            "bench-"
        )
    for benchmark in set(re.findall(r"make bench-([a-z]+)", README)):
        assert (ROOT / "benchmarks" / f"{benchmark}.py").is_file()


GPU_PAGE, GPU_SECTION = "docs/acceptance.md", "What no GPU has run"


def test_parts_that_no_gpu_has_run_are_named_before_manifests_and_cluster() -> None:
    note = f"({GPU_PAGE}#{GPU_SECTION.lower().replace(' ', '-')})"
    manifest, cluster, promise = (README.index(mark) for mark in ("```yaml", "## In a cluster", "## What it promises"))
    assert note in README[:manifest]
    assert note in README[cluster:promise]
    assert f"\n## {GPU_SECTION}\n" in (ROOT / GPU_PAGE).read_text(encoding="utf-8")


def test_an_example_that_needs_gpus_says_that_it_does_not_work_yet() -> None:
    page = (ROOT / GPU_PAGE).read_text(encoding="utf-8").partition(f"## {GPU_SECTION}")[2]
    texts = {path.parent.name: path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*/job.yaml")}
    on_gpus = {name for name, text in texts.items() if "hf://" in text}
    assert set(SHOWN) <= on_gpus
    assert [name for name in sorted(on_gpus) if GPU_SECTION not in texts[name].partition("apiVersion")[0]] == []
    assert [name for name in SHOWN if f"examples/{name}" not in page] == []


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
