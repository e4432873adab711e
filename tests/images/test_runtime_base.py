"""The runtime as pods run it: on its image's base, read-only, as users that /etc/passwd does not know.

The image has no compiler, no user of its own and not all of PyPI's torch; the engine and the training are real.
"""

import time

import pytest

from kubedistill.chain import ArtifactName, StageName
from support.image_root import ImageRoot
from support.runtime_pod import RuntimePod, make_store

CLAIM_GROUP = 65532
USERS = {
    "the image's own": ("65532:65532", ()),
    "one of OpenShift's, with the claim's group": ("1000720000:0", (CLAIM_GROUP,)),
}
STAGES: tuple[StageName, ...] = ("Prepare", "Generate", "Curate", "Train")


@pytest.mark.timeout(2400)  # the first one waits for the image; a busy machine takes its time
@pytest.mark.parametrize("who", USERS)
def test_all_stages_run_as_a_user_without_a_name_and_write_by_group(who: str, pod: RuntimePod) -> None:
    user, groups = USERS[who]
    make_store(pod.store, group=CLAIM_GROUP, mode=0o2775)
    keys: dict[ArtifactName, str] = {}
    for stage in STAGES:
        result, output = pod.run(stage, user=user, groups=groups, keys=keys)
        assert (result.outcome, result.reason) == ("Succeeded", ""), output[-4000:]
        keys = keys or {name: artifact.key for name, artifact in result.artifacts.items()}
        if stage != "Prepare":
            assert all(artifact.complete for artifact in result.artifacts.values())
    written = list(pod.store.rglob("*"))
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in written} == {(int(user.split(":")[0]), CLAIM_GROUP)}


@pytest.mark.timeout(1200)
def test_a_store_that_only_root_may_write_is_reported_at_once_and_not_retried(pod: RuntimePod) -> None:
    make_store(pod.store, group=0, mode=0o755)
    began = time.monotonic()
    result, _ = pod.run("Prepare", user="65532:65532")
    assert (result.outcome, result.reason, result.cause) == ("Failed", "StorageNotWritable", "user")
    assert "chgrp -R 65532 /kubedistill/storage" in result.message
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("program", ["c++", "g++", "cc", "gcc"])
def test_the_base_has_no_compiler(program: str, base: ImageRoot) -> None:
    code, _ = base.run(["sh", "-c", f"command -v {program}"], user="65532:65532")
    assert code != 0


@pytest.mark.parametrize("program", ["wget", "ps", "python3"])
def test_the_base_has_what_kuberay_and_ray_call(program: str, base: ImageRoot) -> None:
    code, output = base.run([program, "--version"], user="65532:65532")
    assert code == 0, output
