"""What users may call the labels and annotations of their pods."""

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Pods
from kubedistill_operator.children.pod_names import check_names
from support.messages import CheckMessage

LEGAL = ("team", "example.com/team", "a.b-c.d/E_f.g-1", "a" * 63, "x", "sidecar.istio.io/inject", "1st")
ILLEGAL = (
    "", "a b", "-a", "a-", "a" * 64, "/a", "a/", "a/b/c", "A.com/a", "a..b/c", f"{'a' * 254}/b", "ä", "a\n",
    "example.com/" + "a" * 64,
)  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
def test_legal_name_is_taken(name: str) -> None:
    check_names(Pods(labels={name: "x"}, annotations={name: "x"}))


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_name_is_refused_where_it_stands(name: str, check_message: CheckMessage) -> None:
    for field in ("labels", "annotations"):
        with pytest.raises(InvalidManifest) as caught:
            check_names(Pods(**{field: {name: "x"}}))
        check_message(caught.value)
        assert caught.value.at == f"spec.pods.{field}"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("labels", "kubedistill.io/job-uid"),
        ("labels", "app.kubernetes.io/managed-by"),
        ("labels", "ray.io/cluster"),
        ("labels", "batch.kubernetes.io/job-name"),
        ("labels", "job-name"),
        ("labels", "kueue.x-k8s.io/queue-name"),
        ("annotations", "kubedistill.io/rerun"),
        ("annotations", "ray.io/overwrite-container-cmd"),
    ],
)
def test_what_others_steer_by_is_refused(field: str, name: str, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as caught:
        check_names(Pods(**{field: {name: "x"}}))
    check_message(caught.value)


@pytest.mark.parametrize("name", ["kueue.x-k8s.io/podset-required-topology", "notray.io/cluster"])
def test_what_only_looks_like_it_is_taken(name: str) -> None:
    check_names(Pods(annotations={name: "x"}))
