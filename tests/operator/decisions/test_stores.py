"""Stores: no two namespaces have one by accident, and a run keeps the one that it was started with."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.manifest.settings import DefaultStorage, SharedStorage
from kubedistill_operator.decisions.placement import find_obstacle
from kubedistill_operator.decisions.stores import find_store, find_uri
from kubedistill_operator.observed import Observed
from support.fake_cluster import NAMESPACE, SETTINGS, FakeCluster, begin, small_spec
from support.messages import CheckMessage

GROUP = SharedStorage(uri="s3://shared/ab", namespaces=("a", "b"))
GROUP_HERE = SharedStorage(uri="s3://shared/ab", namespaces=(NAMESPACE,))
ROOT = "file:///kubedistill/storage"
FOLDER_HERE = SharedStorage(uri=f"{ROOT}/shared", namespaces=(NAMESPACE,))

URIS: list[tuple[dict[str, str], str, DefaultStorage, str]] = [
    ({}, "a", DefaultStorage(), ROOT),
    ({"volumeClaim": "own"}, "a", DefaultStorage(), ROOT),
    ({}, "a", DefaultStorage(uri="s3://all"), "s3://all/a"),
    ({}, "a", DefaultStorage(uri="s3://all/"), "s3://all/a"),
    ({}, "a", DefaultStorage(uri=f"{ROOT}/x", volume_claim="c"), f"{ROOT}/x/a"),
    ({"uri": "s3://own"}, "a", DefaultStorage(uri="s3://all", shared=(GROUP,)), "s3://own"),
    ({}, "a", DefaultStorage(uri="s3://all", shared=(GROUP,)), "s3://shared/ab"),
    ({}, "b", DefaultStorage(shared=(GROUP,)), "s3://shared/ab"),
    ({}, "c", DefaultStorage(uri="s3://all", shared=(GROUP,)), "s3://all/c"),
]


@pytest.mark.parametrize(("own", "namespace", "storage", "uri"), URIS)
def test_where_a_job_keeps_its_artifacts(
    own: dict[str, str], namespace: str, storage: DefaultStorage, uri: str
) -> None:
    assert find_uri(small_spec(storage=own), namespace=namespace, storage=storage) == uri


OWN = st.fixed_dictionaries(
    {}, optional={"uri": st.sampled_from(["s3://all", "s3://all/b", "s3://shared/ab", "s3://x"]),
                  "volumeClaim": st.sampled_from(["c", "d"])},
)  # fmt: skip
DEFAULTS = st.builds(
    DefaultStorage, uri=st.sampled_from([None, "s3://all", "s3://all/"]), volume_claim=st.sampled_from([None, "c"]),
    shared=st.sampled_from([(), (GROUP,)]),
)  # fmt: skip


@given(own=st.tuples(OWN, OWN), namespaces=st.tuples(*[st.sampled_from("abc")] * 2), storage=DEFAULTS)
def test_jobs_of_two_namespaces_share_a_store_only_in_a_group(
    own: tuple[dict[str, str], dict[str, str]], namespaces: tuple[str, str], storage: DefaultStorage
) -> None:
    first, second = (
        find_store(small_spec(storage=one), namespace=namespace, storage=storage)
        for one, namespace in zip(own, namespaces, strict=True)
    )
    if first == second and namespaces[0] != namespaces[1]:
        assert storage.shared == (GROUP,)
        assert set(namespaces) == {"a", "b"}
        assert first[2] == GROUP.uri


CLAIM = {"volume_claim": "c"}
SHARED_CLAIM = Observed(claim_access_modes=("ReadWriteMany",))


@pytest.mark.parametrize(
    ("own", "storage", "reason", "field"),
    [
        ({"uri": "s3://own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": "own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": "file://own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({}, DefaultStorage(uri="s3://all", **CLAIM), "InvalidSpec", "settings.storage"),
        ({}, DefaultStorage(shared=(GROUP_HERE,), **CLAIM), "InvalidSpec", "settings.storage"),
        ({"uri": f"{ROOT}/own"}, DefaultStorage(uri="s3://all", **CLAIM), None, ""),
        ({"uri": "file:///models"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": f"{ROOT}-2/own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": f"{ROOT}/../own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": f"{ROOT}/%2e%2e/own"}, DefaultStorage(**CLAIM), "InvalidSpec", "spec.storage.uri"),
        ({"uri": f"{ROOT}/a/../own"}, DefaultStorage(**CLAIM), None, ""),
        ({"uri": f"{ROOT}/"}, DefaultStorage(**CLAIM), None, ""),
        ({}, DefaultStorage(uri="file:///models", **CLAIM), "InvalidSpec", "settings.storage"),
        ({}, DefaultStorage(shared=(FOLDER_HERE,)), "NoStorage", "spec.storage.volumeClaim"),
        ({}, DefaultStorage(shared=(FOLDER_HERE,), **CLAIM), None, ""),
    ],
)
def test_s16_a_job_starts_only_with_a_store_that_this_version_can_use(
    own: dict[str, str], storage: DefaultStorage, reason: str | None, field: str
) -> None:
    """A driver with another scheme ended before it had a channel, and was charged to failure three times."""
    settings = SETTINGS.model_copy(update={"storage": storage})
    obstacle = find_obstacle(small_spec(storage=own), NAMESPACE, observed=SHARED_CLAIM, settings=settings)
    assert (obstacle.reason if obstacle else None) == reason
    if obstacle is not None:
        assert obstacle.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("uri", "is_kept"),
    [
        (None, True),
        ("exports/support", True),
        ("../support", True),
        ("../../../support", False),
        (f"{ROOT}/exports/support", True),
        ("file:///exports/support", False),
        ("/exports/support", False),
        ("file://exports/support", False),
    ],
)
def test_s16_an_export_is_copied_only_to_where_it_outlives_the_pod(
    uri: str | None, is_kept: bool, check_message: CheckMessage
) -> None:
    spec = small_spec(storage={"uri": f"{ROOT}/own"}, export=[{"uri": "first"}, {"uri": uri}])
    settings = SETTINGS.model_copy(update={"storage": DefaultStorage(**CLAIM)})
    obstacle = find_obstacle(spec, NAMESPACE, observed=SHARED_CLAIM, settings=settings)
    assert (obstacle is None) == is_kept
    if obstacle is not None:
        assert obstacle.reason == "InvalidSpec"
        check_message(obstacle.message, "spec.export[1].uri")


def test_a_run_keeps_its_store_whatever_the_settings_become() -> None:
    """Before and after an upgrade, a group that is made or dissolved, and another root."""
    storages = [
        DefaultStorage(uri=f"{ROOT}/one", volume_claim="c"),
        DefaultStorage(uri=f"{ROOT}/two", volume_claim="c"),
        DefaultStorage(volume_claim="c", shared=(SharedStorage(uri=f"{ROOT}/us", namespaces=(NAMESPACE,)),)),
    ]
    stores = (f"{ROOT}/one/{NAMESPACE}", f"{ROOT}/two/{NAMESPACE}", f"{ROOT}/us")
    for (before, store), after in itertools.product(zip(storages, stores, strict=True), storages):
        settings = [SETTINGS.model_copy(update={"storage": storage}) for storage in (before, after)]
        cluster = FakeCluster(spec=small_spec(storage={}), settings=settings[0])
        begin(cluster, "Generate")
        cluster.settings = settings[1]
        cluster.complete_stage("Generate")
        assert {job.store for job in cluster.jobs.values()} == {store}
        assert {job.data_root for job in cluster.jobs.values()} == {store}
        assert len(cluster.jobs) == 3
