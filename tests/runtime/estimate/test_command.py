"""The command with the real runtime: the quickstart, on this machine and in the pool of a cluster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.job_folder import QUICKSTART

KUBEDISTILL = str(Path(sys.executable).with_name("kubedistill"))
SETTINGS = """
pools:
  l4: {nodeSelector: {a: b}, accelerator: NVIDIA L4, memoryPerGpu: 24Gi, pricePerGpuHour: 2}
"""


def estimate(store: Path, *arguments: str, manifest: Path = QUICKSTART / "job.yaml") -> Any:
    command = [KUBEDISTILL, "estimate", str(manifest), "--store", str(store), "--json", *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def test_the_quickstart_is_estimated_here_and_for_a_pool(tmp_path: Path) -> None:
    here = estimate(tmp_path / "store")
    assert {one["stage"]: one["tokens"] for one in here["stages"]} == {
        "Generate": 2_500 * 8, "Train": 20 * 1_200 * 8, "Evaluate": 2 * 1_000 * 8,
    }  # fmt: skip
    for name in ("data", "teacher", "student"):
        (tmp_path / name).symlink_to(QUICKSTART / name)
    settings, manifest = tmp_path / "settings.yaml", tmp_path / "job.yaml"
    settings.write_text(SETTINGS)
    text = (QUICKSTART / "job.yaml").read_text()
    manifest.write_text(text.replace("  student:\n", "  stages: {generate: {pool: l4}}\n  student:\n", 1))
    there = estimate(tmp_path / "store", "--settings", str(settings), manifest=manifest)
    generate = there["stages"][0]
    assert generate["gpuHours"] > 0
    assert generate["dollars"] == 2 * generate["gpuHours"]
