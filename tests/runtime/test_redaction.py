"""data.redact: each text is redacted before anything is stored, by code that only a job runs."""

import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from kubedistill.errors import InvalidData, InvalidInput, InvalidManifest
from kubedistill_runtime.checks.input import read_split
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.redaction import AT, redact_records
from kubedistill_runtime.validation import validate
from support.job_folder import JobFolder
from support.messages import CheckMessage, check_facts

MASK = "import re\n\n\ndef mask(text):\n    return re.sub(r'[0-9]', '#', text)\n"
SECRET = "4929-1234"
RECORD = Record(
    "r1", (Message("user", f"My card is {SECRET}."), Message("assistant", "ok 1", target=False)), ("yes 2",), ("id-3",)
)


@pytest.fixture
def job_folder(job_folder: JobFolder) -> JobFolder:
    job_folder.set("data.redact", "pii:mask")
    (job_folder.root / "pii.py").write_text(MASK)
    return job_folder


def redact(job_folder: JobFolder, record: Record = RECORD) -> Record:
    (redacted,), _ = redact_records([record], job=job_folder.stage_job())
    return redacted


def test_every_text_but_labels_and_ids_is_redacted(job_folder: JobFolder) -> None:
    masked = (Message("user", "My card is ####-####."), Message("assistant", "ok #", target=False))
    assert redact(job_folder) == Record("r1", masked, ("yes 2",), ("id-#",))
    job_folder.set("task", {"type": "QA"})
    assert redact(job_folder) == Record("r1", masked, ("yes #",), ("id-#",))


@pytest.mark.parametrize(
    ("task", "reference", "prompt"),
    [
        ({"type": "Math"}, "42", "What is 6 * 7?"),
        ({"type": "Text", "answer": {"jsonSchema": {"type": "integer"}}}, "42", "Which age?"),
        ({"type": "Text", "answer": {"regex": "[0-9]+"}}, "42", "Which age?"),
    ],
)
def test_a_reference_that_no_answer_can_match_is_refused(
    task: dict, reference: str, prompt: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    job_folder.spec["task"] = task
    record = Record("r1", (Message("user", prompt),), (reference,))
    with pytest.raises(InvalidData) as refused:
        redact(job_folder, record)
    check_message(refused.value, AT, "r1")
    assert reference not in str(refused.value)


def test_a_split_is_redacted_when_it_is_read_and_counts_what_changed(job_folder: JobFolder) -> None:
    path = job_folder.root / "data" / "train.jsonl"
    path.write_text('{"prompt": "call 1234"}\n{"prompt": "hello"}\n')
    file = read_split(job_folder.stage_job(), "train")
    assert [record.messages[0].content for record in file.records] == ["call ####", "hello"]
    assert file.notes == ("1 of 2 records: changed by pii:mask",)


def test_a_module_below_a_folder_or_of_the_image_is_found(job_folder: JobFolder) -> None:
    (job_folder.root / "tools").mkdir()
    (job_folder.root / "tools" / "pii.py").write_text(MASK.replace("'#'", "'*'"))
    job_folder.set("data.redact", "tools.pii:mask")
    assert redact(job_folder).tags == ("id-*",)
    job_folder.set("data.redact", "textwrap:dedent")
    assert redact(job_folder, replace(RECORD, tags=("  a",))).tags == ("a",)


def test_keys_follow_the_code_and_the_name_of_the_function(job_folder: JobFolder) -> None:
    def keys() -> dict[str, str]:
        return dict(resolve(job_folder.stage_job(), store=job_folder.store).keys)

    first = keys()
    (job_folder.root / "pii.py").write_text(f"{MASK}\n\nhide = mask\n")
    second = keys()
    job_folder.set("data.redact", "pii:hide")
    third = keys()
    job_folder.drop("data.redact")
    for name in first:
        assert len({first[name], second[name], third[name], keys()[name]}) == 4, name


def test_a_changed_file_is_loaded_again_and_leaves_no_cache(job_folder: JobFolder) -> None:
    assert redact(job_folder).tags == ("id-#",)
    (job_folder.root / "pii.py").write_text(MASK.replace("'#'", "'*'"))
    assert redact(job_folder).tags == ("id-*",)
    assert not (job_folder.root / "__pycache__").exists()


FAILING = {
    "raises with the text": ("def mask(text):\n    raise ValueError(text)\n", "ValueError"),
    "leaves": ("def mask(text):\n    raise SystemExit(text)\n", "SystemExit"),
    "nothing": ("def mask(text):\n    pass\n", "NoneType"),
    "blank": ("def mask(text):\n    return ' '\n", "blank"),
    "half a surrogate pair": ("def mask(text):\n    return '\\ud800'\n", "UnicodeEncodeError"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_function_that_fails_names_the_record_and_none_of_its_text(
    case: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    code, named = FAILING[case]
    (job_folder.root / "pii.py").write_text(code)
    with pytest.raises(InvalidData) as refused:
        redact(job_folder)
    check_message(refused.value, AT, "'r1'", named)
    logged = "".join(traceback.format_exception(refused.value))
    assert SECRET not in logged


WRONG: dict[str, tuple[str, str, str]] = {
    "no such module": ("other:mask", MASK, "'other'"),
    "no such function": ("pii:hide", MASK, "'hide'"),
    "no function": ("pii:mask", "mask = 1\n", "'mask'"),
    "a module in C": ("math:sqrt", MASK, "'math'"),
    "a module below a module": ("textwrap.pii:mask", MASK, "'textwrap.pii'"),
    "not Python": ("pii:mask", "def mask(text)\n", "SyntaxError"),
    "an import of a neighbor": ("pii:mask", f"import neighbor_of_pii\n{MASK}", "neighbor_of_pii"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_function_that_is_not_there_is_refused(case: str, job_folder: JobFolder) -> None:
    name, code, named = WRONG[case]
    job_folder.set("data.redact", name)
    (job_folder.root / "pii.py").write_text(code)
    with pytest.raises(InvalidManifest) as refused:
        redact(job_folder)
    assert refused.value.at == AT
    check_facts(refused.value, named)


def test_validation_runs_no_code_of_the_data(job_folder: JobFolder, tmp_path: Path) -> None:
    (job_folder.root / "pii.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{MASK}")
    found = validate(job_folder.stage_job())
    assert any(AT in one for one in found.unchecked)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["pii", "pii:", ":mask", "pii:mask()", "../pii:mask", "a b:c", "pii:mask:x"])
def test_what_is_not_a_function_of_a_module_is_no_value(name: str, job_folder: JobFolder) -> None:
    job_folder.set("data.redact", name)
    with pytest.raises((InvalidInput, ValueError)):
        job_folder.stage_job()
