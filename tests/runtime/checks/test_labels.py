"""References of label tasks: mapped once to the declared label, or refused with a guess that looks another way."""

import json
import unicodedata
from pathlib import Path

import pytest

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.records import Record
from support.messages import check_facts

LABELS = ("device.fix", "café", "Entailment")
CYRILLIC_E = "\u0435"


def read(tmp_path: Path, reference: object, *, task: str = "Classification") -> Record:
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"prompt": "a", "reference": reference}))
    spec = Task(type=task, labels=LABELS if task == "Classification" else None)
    return read_records(path, split="test", task=spec, answers="Teacher").records[0]


@pytest.mark.parametrize(
    ("reference", "labels"),
    [
        ("device.fix", ["device.fix"]),
        ("DEVICE.FIX", ["device.fix"]),
        ("device.fix\n", ["device.fix"]),
        ("entailment", ["Entailment"]),
        (unicodedata.normalize("NFD", "CAFÉ"), ["café"]),
        (["DEVICE.FIX", "device.fix ", "entailment"], ["device.fix", "Entailment"]),
        ([], []),
    ],
)
def test_a_reference_becomes_the_label_that_the_manifest_declares(
    reference: object, labels: list[str], tmp_path: Path
) -> None:
    assert list(read(tmp_path, reference).references) == labels


@pytest.mark.parametrize("reference", [" Device.Fix \n", "cafe\u0301", "<b>5</b>\t"])
@pytest.mark.parametrize("task", ["QA", "Conversation"])
def test_free_text_keeps_its_bytes(reference: str, task: str, tmp_path: Path) -> None:
    assert read(tmp_path, reference, task=task).references == (reference,)


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("device.fxi", ("'device.fix'",)),
        ("DEVICE.FXI", ("'device.fix'",)),
        (unicodedata.normalize("NFD", "caffé"), ("'café'",)),
        (f"d{CYRILLIC_E}vice.fix", ("'device.fix'", "U+0435 (cyrillic small letter ie)")),
        ("device\u00a0.fix", ("'device.fix'", "U+00A0 (no-break space)")),
        ("device.fix\u200b", ("'device.fix'", "U+200B (zero width space)")),
        ("zzz", ("device.fix, café, Entailment",)),
    ],
)
def test_a_reference_that_is_not_a_label_is_refused_with_a_guess(
    reference: str, named: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, ["device.fix", reference])
    assert repr(reference) in caught.value.problem
    check_facts(caught.value.fix, *named)
