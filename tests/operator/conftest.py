"""What the tests of the operator share: a minimal resource."""

import copy
from typing import Any

import pytest

Values = dict[str, Any]
RESOURCE: Values = {
    "apiVersion": "kubedistill.io/v1alpha1",
    "kind": "DistillationJob",
    "metadata": {
        "name": "support",
        "namespace": "team-a",
        "uid": "0b3c7b34-5f9d-4f43-9d9b-6d3b7c0f6a11",
        "generation": 3,
        "resourceVersion": "4711",
        "creationTimestamp": "2026-03-01T12:00:00Z",
    },
    "spec": {
        "task": {"type": "Classification", "labels": ["billing", "delivery"]},
        "teachers": [{"name": "main", "model": {"source": "teacher"}}],
        "student": {"model": {"source": "student"}},
        "data": {"train": {"uri": "train.jsonl"}},
    },
}


@pytest.fixture
def resource() -> Values:
    """Return a DistillationJob as the API server gives it, to be changed at will."""
    return copy.deepcopy(RESOURCE)
