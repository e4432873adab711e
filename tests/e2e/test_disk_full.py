"""A disk that fills up in the middle of a shard: what was published stays, and with more room the job continues."""

import json
import subprocess
from pathlib import Path

from support.small_job import KUBEDISTILL, SmallJob

# One mount namespace for both runs: the store's file system exists only in it. The disk is filled, but for two pages,
# as soon as the first shard is there.
_SCRIPT = """
mount -t tmpfs -o size=64m store "$2"
"$0" run "$1" --store "$2" --json > first.jsonl & run=$!
until ls "$2"/rows/*/*.parquet > before 2>/dev/null; do sleep 0.002; done
dd if=/dev/zero of="$2/ballast" bs=4096 2>/dev/null; truncate -s -8192 "$2/ballast"
wait $run; echo $? > first.code
sha256sum $(cat before) > sums
rm "$2/ballast"
"$0" run "$1" --store "$2" --json > second.jsonl; echo $? > second.code
sha256sum --check --quiet sums; echo $? > unchanged.code
find "$2" -name '.tmp-*' > left
"""


def test_a_full_disk_costs_nothing_that_was_published(job: SmallJob, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    arguments = [KUBEDISTILL, str(job.manifest), str(store)]
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", _SCRIPT, *arguments]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=1200)

    first = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    assert first[-1]["event"] == "failed"
    assert first[-1]["reason"] == "StorageUnavailable"
    assert str(store) in first[-1]["message"]
    assert read(tmp_path / "first.code") == "1"
    assert read(tmp_path / "before"), "a shard was published before the disk was full"
    assert "Curate" not in {event.get("stage") for event in first}
    assert read(tmp_path / "second.code") == "0"
    assert read(tmp_path / "unchanged.code") == "0", "a published shard was rewritten"
    assert read(tmp_path / "left") == ""


def read(path: Path) -> str:
    return path.read_text().strip()
