"""What the platform allows no job: row S13 of docs/behavior.md."""

from typing import Any

import pytest

from kubedistill.errors import PolicyViolated
from kubedistill.manifest.settings import Policy
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.decisions.placement import find_obstacle
from kubedistill_operator.decisions.policy import check_policy
from kubedistill_operator.observed import Observed
from support.fake_cluster import NAMESPACE, SETTINGS, FakeCluster, small_spec
from support.messages import CheckMessage
from support.spec_fields import FIELDS

LLAMA = "hf://meta-llama/Llama-3.1-8B"
ALLOWED: dict[str, tuple[str, ...]] = {
    "all, without a policy": (),
    "the model itself": (LLAMA,),
    "all of the organization": ("hf://meta-llama/",),
    "the whole hub": ("hf://",),
    "one of several": ("file:", "hf://meta-llama/"),
}
REFUSED: dict[str, tuple[str, str]] = {
    "another model": (LLAMA, "hf://meta-llama/Llama-3.1-70B"),
    "a longer name": (LLAMA, f"{LLAMA}-Instruct"),
    "another organization": ("hf://meta-llama/", "hf://meta-llama-2/x"),
    "a way out of the organization": ("hf://meta-llama/", "hf://meta-llama/../evil/x"),
    "a path": ("hf://", "models/x"),
    "a path that looks like it": ("hf://", "hf/x"),
    "a folder next to it": ("file:///models/", "file:///models-2/x"),
    "a way out of the folder": ("file:///models/", "file:///models/../x"),
    "a hidden way out": ("file:///models/", "file:///models/%2e%2e/x"),
    "the hub": ("file:", "hf://a/b"),
    "another case": ("file:", "FILE:///x"),
}
PATHS = {
    "a relative path": "models/x",
    "a way up": "../x",
    "a URI": "file:///models/x",
    "a URI without slashes": "file:x",
}


def spec_of(teacher: str, student: str = LLAMA, **model: Any) -> Spec:
    values = spec_values(small_spec())
    values["teachers"][0]["model"] = {"source": teacher, **model}
    values["student"]["model"] = {"source": student}
    return Spec.model_validate(values, by_alias=True, strict=False)


@pytest.mark.parametrize("case", ALLOWED)
def test_a_source_that_is_listed_is_allowed(case: str) -> None:
    check_policy(spec_of(LLAMA), Policy(allowed_sources=ALLOWED[case]))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_all_paths_are_allowed_as_one(path: str) -> None:
    check_policy(spec_of(path, path), Policy(allowed_sources=("file:",)))


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("case", REFUSED)
def test_any_other_source_is_refused_at_its_field(case: str, role: str) -> None:
    allowed, source = REFUSED[case]
    good = f"{allowed}a/b" if allowed.endswith(("/", ":")) else allowed
    spec = spec_of(source, good) if role == "teacher" else spec_of(good, source)
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, Policy(allowed_sources=(allowed,)))
    assert caught.value.at == ("spec.teachers[0].model.source" if role == "teacher" else "spec.student.model.source")
    assert allowed in caught.value.fix


@pytest.mark.parametrize(
    ("allowed", "endpoint", "refused"),
    [
        ("https://api.openai.com/", {}, False),
        ("https://api.openai.com/v1", {}, False),
        ("https://gateway.example.com/", {"url": "https://gateway.example.com/team/v1"}, False),
        ("https://gateway.example.com/", {}, True),
        ("https://api.openai.com/", {"api": "Anthropic"}, True),
        ("https://api.openai.com", {"url": "https://api.openai.com.evil.example/v1"}, True),
        ("hf://", {}, True),
    ],
)
def test_prompts_go_only_to_allowed_endpoints(allowed: str, endpoint: dict[str, str], *, refused: bool) -> None:
    values = spec_values(small_spec())
    values["teachers"] = [{"name": "main", "endpoint": {"model": "large", **endpoint}}]
    values["student"]["model"] = {"source": LLAMA}
    spec = Spec.model_validate(values, by_alias=True, strict=False)
    policy = Policy(allowed_sources=(allowed, LLAMA))
    if not refused:
        check_policy(spec, policy)
        return
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, policy)
    assert caught.value.at == "spec.teachers[0].endpoint.url"


HUB = "hf://datasets/team/tickets/train.jsonl"
DATA: dict[str, tuple[str, str, bool]] = {
    "the dataset": ("hf://datasets/team/tickets/", HUB, False),
    "the file": (HUB, HUB, False),
    "all of the organization": ("hf://datasets/team/", HUB, False),
    "the whole hub": ("hf://", HUB, False),
    "a revision of it": ("hf://datasets/team/tickets/", HUB.replace("/train", "@v1/train"), False),
    "a ref of it": ("hf://datasets/team/tickets/", HUB.replace("/train", "@refs/convert/parquet/train"), False),
    "the listed revision": ("hf://datasets/team/tickets@v1/", HUB.replace("/train", "@v1/train"), False),
    "another revision than the listed one": ("hf://datasets/team/tickets@v1/", HUB, True),
    "another dataset": ("hf://datasets/team/tickets/", HUB.replace("tickets", "tickets-2"), True),
    "a way out of the dataset": ("hf://datasets/team/tickets/", "hf://datasets/team/tickets/../x/y", True),
    "a way out of a revision": ("hf://datasets/team/", "hf://datasets/team/../evil@v1/x", True),
    "an organization's models alone": ("hf://team/", HUB, True),
    "no hub": ("file:", HUB, True),
    "a file of the store": ("hf://team/", "data/train.jsonl", False),
}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("case", DATA)
def test_data_of_the_hub_is_limited_as_models_are(case: str, split: str) -> None:
    allowed, uri, refused = DATA[case]
    values = spec_values(spec_of(LLAMA))
    values["data"][split] = {"uri": uri}
    spec = Spec.model_validate(values, by_alias=True, strict=False)
    policy = Policy(allowed_sources=(LLAMA, allowed))
    if not refused:
        check_policy(spec, policy)
        return
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, policy)
    assert caught.value.at == f"spec.data.{split}.uri"
    assert allowed in caught.value.fix


URIS = [name for name in FIELDS if name.endswith((".source", ".uri"))]
"""Without that of an export, whose scheme the driver refuses."""


@pytest.mark.parametrize("field", URIS)
def test_no_field_of_the_spec_names_the_hub_past_the_policy(field: str) -> None:
    values = spec_values(spec_of("models/big", "models/small"))
    *path, last = field.split(".")
    place: Any = values
    for part in path:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[last] = HUB if path[0] == "data" else "hf://team/model"
    spec = Spec.model_validate(values, by_alias=True, strict=False)
    settings = SETTINGS.model_copy(update={"policy": Policy(allowed_sources=("file:",))})
    observed = Observed(claim_access_modes=("ReadWriteMany",))
    obstacle = find_obstacle(spec, NAMESPACE, observed=observed, settings=settings)
    assert obstacle is not None
    assert obstacle.reason == ("InvalidSpec" if field == "storage.uri" else "PolicyViolated")


def test_a_tokenizer_of_an_endpoint_is_limited_as_models_are() -> None:
    values = spec_values(small_spec())
    endpoint = {"model": "large", "tokenizer": "hf://other/tokenizer"}
    values["teachers"] = [{"name": "main", "endpoint": endpoint}]
    values["student"]["model"] = {"source": LLAMA}
    spec = Spec.model_validate(values, by_alias=True, strict=False)
    check_policy(spec, Policy(allowed_sources=("https://api.openai.com/", "hf://other/", LLAMA)))
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, Policy(allowed_sources=("https://api.openai.com/", LLAMA)))
    assert caught.value.at == "spec.teachers[0].endpoint.tokenizer"


def test_own_code_of_a_checkpoint_is_refused_where_it_is_not_allowed() -> None:
    spec = spec_of(LLAMA, trustRemoteCode=True)
    check_policy(spec, Policy())
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, Policy(allow_trust_remote_code=False))
    assert caught.value.at == "spec.teachers[0].model.trustRemoteCode"


def test_code_for_the_data_is_refused_unless_it_is_allowed(check_message: CheckMessage) -> None:
    values = spec_values(spec_of(LLAMA))
    values["data"]["redact"] = "pii:mask"
    spec = Spec.model_validate(values, by_alias=True, strict=False)
    check_policy(spec, Policy(allow_data_code=True))
    with pytest.raises(PolicyViolated) as caught:
        check_policy(spec, Policy())
    check_message(caught.value, "spec.data.redact", "policy.allowDataCode")


def test_s13_a_job_against_the_policy_starts_nothing_until_the_settings_change(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    allowed = cluster.settings
    cluster.settings = allowed.model_copy(update={"policy": Policy(allowed_sources=("hf://nobody/",))})
    plan = cluster.step()
    assert plan.create == ()
    validated = cluster.status.condition("Validated")
    assert validated is not None
    assert (validated.status, validated.reason) == ("False", "PolicyViolated")
    check_message(validated.message, "spec.teachers[0].model.source")
    cluster.settings = allowed
    assert cluster.step().create != ()


def test_a_run_without_a_child_keeps_the_policy_of_its_start(cluster: FakeCluster) -> None:
    cluster.step()
    assert cluster.status.run is not None
    digest = cluster.status.run.snapshot_digest
    cluster.settings = cluster.settings.model_copy(update={"policy": Policy(allowed_sources=("hf://nobody/",))})
    cluster.complete_stage("Prepare")
    assert cluster.status.run.snapshot_digest == digest


def test_a_run_continues_under_the_policy_of_its_start(cluster: FakeCluster) -> None:
    cluster.complete_stage("Prepare")
    cluster.settings = cluster.settings.model_copy(update={"policy": Policy(allowed_sources=("hf://nobody/",))})
    cluster.complete_stage("Generate")
    assert cluster.status.phase == "Curating"
