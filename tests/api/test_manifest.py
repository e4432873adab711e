"""Reading a manifest: each bad file is refused with file, line, field path, problem and fix."""

import contextlib
import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kubedistill.errors import InvalidManifest
from kubedistill.manifest import document
from kubedistill.manifest.document import MAX_BYTES, MAX_DEPTH, read_document
from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1 import DistillationJob
from support.messages import CheckMessage

GOOD = """\
apiVersion: kubedistill.io/v1alpha1
kind: DistillationJob
metadata:
  name: support
spec:
  task:
    type: Classification
    labels: [billing, delivery]
  teachers:
    - name: main
      model:
        source: teacher
        maxModelLen: 128
  student:
    model: {source: student}
  data:
    train: {uri: train.jsonl}
    test: {uri: test.jsonl}
  training:
    optimizer: {learningRate: 2e-5}
    epochs: 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the file is: errors then begin with its plain name."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(content: str | bytes) -> DistillationJob:
    path = Path("job.yaml")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_manifest(path)


def refusal(content: str | bytes) -> InvalidManifest:
    with pytest.raises(InvalidManifest) as caught:
        load(content)
    return caught.value


def edit(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, "an edit changes one place"
    return GOOD.replace(old, new)


def test_good_file_is_read(folder: Path) -> None:
    job = load(GOOD)
    assert (job.metadata.name, job.spec.teachers[0].model.max_model_len) == ("support", 128)
    assert job.spec.task.labels == ("billing", "delivery")


# What is changed, then: where it is refused, the problem, the fix.
FIELDS = {
    "unknown field": (
        ("maxModelLen", "maxModelLength"), "13: spec.teachers[0].model.maxModelLength",
        "unknown field `maxModelLength`", "Did you mean `maxModelLen`?",
    ),
    "Python's name of a field": (
        ("maxModelLen", "max_model_len"), "13: spec.teachers[0].model.max_model_len",
        "unknown field `max_model_len`", "Did you mean `maxModelLen`?",
    ),
    "unknown field like no other": (
        ("epochs: 3", "zzz: 3"), "21: spec.training.zzz",
        "unknown field `zzz`", "Use one of objective, optimizer, epochs, maxSteps, globalBatchSize, "
        "microBatchSize, maxLength, precision, seed, validation, checkpoint",
    ),
    "an API key": (
        ("maxModelLen: 128", "maxModelLen: 128\n    - name: far\n      endpoint: {model: large, apiKey: sk-1}"),
        "15: spec.teachers[1].endpoint.apiKey", "unknown field `apiKey`", "Put the key into a Secret",
    ),
    "a password in a URL": (
        ("maxModelLen: 128", "maxModelLen: 128\n    - name: far\n      endpoint: {model: a, url: 'http://me:sk-1@b/v1'}"),
        "15: spec.teachers[1].endpoint.url",
        "string should be an http:// or https:// URL without a password, and it is \"http://...@b/v1\"", "Write it as",
    ),
    "a string for a schema": (
        ("[billing, delivery]", "[billing, delivery]\n    answer: {jsonSchema: '{}'}"),
        "9: spec.task.answer.jsonSchema", 'input should be an object, and it is "{}"', "Write a mapping, not a string",
    ),
    "a regular expression that is none": (
        ("[billing, delivery]", "[billing, delivery]\n    answer: {regex: (a}"),
        "9: spec.task.answer.regex", "not a regular expression in the syntax of RE2", "Correct it",
    ),
    "unknown field at the top": (
        ("spec:", "specs: {}\nspec:"), "5: specs", "unknown field `specs`", "Did you mean `spec`?",
    ),
    "field name that is a number": (
        ("epochs: 3", "3: 3"), "21: spec.training.3", "unknown field `3`", "Use one of",
    ),
    "wrong type": (
        ("epochs: 3", "epochs: three"), "21: spec.training.epochs",
        'input should be a valid integer, and it is "three"', "Write a whole number",
    ),
    "a number with a dot": (
        ("epochs: 3", "epochs: 3.0"), "21: spec.training.epochs",
        "input should be a valid integer, and it is 3.0", "Write a whole number",
    ),
    "true for a number": (
        ("epochs: 3", "epochs: true"), "21: spec.training.epochs",
        "input should be a valid integer, and it is true", "Write a whole number",
    ),
    "a number for a string": (
        ("[billing, delivery]", "[billing, 7]"), "8: spec.task.labels[1]",
        "input should be a valid string, and it is 7", "Put it in quotes",
    ),
    "nothing for a string": (
        ("source: teacher", "source:"), "12: spec.teachers[0].model.source",
        "input should be a valid string, and it is null", "Give it a value, or remove it",
    ),
    "a mapping for a list": (
        ("[billing, delivery]", "{a: b}"), "8: spec.task.labels",
        'input should be a valid array, and it is {"a": "b"}', "Write a list: a dash before each item",
    ),
    "a list for a mapping": (
        ("{source: student}", "[student]"), "15: spec.student.model",
        'input should be an object, and it is ["student"]', "Write a mapping of fields",
    ),
    "out of range": (
        ("epochs: 3", "epochs: 0"), "21: spec.training.epochs",
        "input should be greater than or equal to 1, and it is 0", "Choose a value within the limit",
    ),
    "not finite": (
        ("2e-5", ".nan"), "20: spec.training.optimizer.learningRate",
        "input should be a finite number, and it is NaN", "Write a finite number",
    ),
    "name too long": (
        ("name: support", "name: " + "a" * 33), "4: metadata.name",
        "string should have at most 32 characters", "Choose a value within the limit",
    ),
    "name with capitals": (
        ("name: support", "name: Support"), "4: metadata.name",
        "string should match pattern", "Write it in that form",
    ),
    "misspelt metadata": (
        ("name: support", "name: support\n  namspace: team-a"), "5: metadata.namspace",
        "unknown field `namspace`", "Did you mean `namespace`?",
    ),
    "a list that is short": (
        ("labels: [billing, delivery]", "labels: [billing]"), "8: spec.task.labels",
        'list should have at least 2 items, not 1, and it is ["billing"]', "Choose a value within the limit",
    ),
    "missing": (
        ("    train: {uri: train.jsonl}\n", ""), "16: spec.data.train",
        "the required field is missing", "Add `train`",
    ),
    "value of no choice": (
        ("type: Classification", "type: Clasification"), "7: spec.task.type",
        "\"Clasification\" is not one of 'Classification', 'NLI', 'Conversation', 'QA',",
        "Did you mean Classification?",
    ),
    "value like no choice": (
        ("type: Classification", "type: 7"), "7: spec.task.type",
        "7 is not one of 'Classification', 'NLI', 'Conversation', 'QA',", "Choose one of them",
    ),
    "rule between fields": (
        ("    labels: [billing, delivery]\n", ""), "6: spec.task",
        "labels is required for a Classification task", "List the labels an answer may be",
    ),
    "neither of two": (
        ("{uri: test.jsonl}", "{}"), "18: spec.data.test",
        "exactly one of uri and configMapKeyRef must be set", "Set one of them",
    ),
    "brackets of no URI": (
        ("uri: test.jsonl", 'uri: "http://["'), "18: spec.data.test.uri",
        "neither a path nor a URI (Invalid IPv6 URL)", "Fix its brackets",
    ),
    "another kind": (
        ("kind: DistillationJob", "kind: Job"), "2: kind",
        '"Job" is not DistillationJob', "Write kind: DistillationJob",
    ),
    "no kind": (
        ("kind: DistillationJob\n", ""), "1: kind", "the required field is missing", "Write kind: DistillationJob",
    ),
    "another version": (
        ("v1alpha1", "v2"), "1: apiVersion",
        '"kubedistill.io/v2" is not kubedistill.io/v1alpha1', "Write apiVersion: kubedistill.io/v1alpha1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
def test_bad_field_is_refused_with_its_place(case: str, folder: Path) -> None:
    change, place, problem, fix = FIELDS[case]
    error = refusal(edit(*change))
    assert error.at == f"job.yaml:{place}"
    assert error.problem.startswith(problem)
    assert error.fix.startswith(fix)
    assert "\n" not in str(error), "one change is one problem"


FILES = {
    "empty": ("", "job.yaml", "the file is empty", "Write one DistillationJob"),
    "a comment only": ("# soon\n", "job.yaml", "the file is empty", "Write one DistillationJob"),
    "two documents": (GOOD + "---\n" + GOOD, "job.yaml", "the file has 2 documents", "Write one DistillationJob"),
    "a list": ("- a\n", "job.yaml", "the document is not a mapping", "Write `field: value` lines"),
    "a string": ("hello", "job.yaml", "the document is not a mapping", "Write `field: value` lines"),
    "not UTF-8": (b"a: 1\nb: \xff\n", "job.yaml:2", "the manifest is not UTF-8", "Convert the file"),
    "UTF-16": (GOOD.encode("utf-16"), "job.yaml:1", "the manifest is not UTF-8", "Convert the file"),
    "no YAML": (edit("kind: D", "kind D"), "job.yaml:3", "not valid YAML (could not find", "Fix the line"),
    "a tab": (edit("  task:", "\ttask:"), "job.yaml:6", "not valid YAML (found character '\\t'", "Fix the line"),
    "a control character": (edit("support", "a\0b"), "job.yaml", "not valid YAML (unacceptable", "Fix the file"),
    "an open bracket": (edit("{uri: train.jsonl}", "{uri: a"), "job.yaml:18", "not valid YAML (", "Fix the line"),
    "beyond Unicode": (edit("support", '"\\U00110000"'), "job.yaml", "not valid YAML (", "Fix the file"),
    "half a surrogate pair": (edit("support", '"\\ud800"'), "job.yaml:4", "half a surrogate pair", "Write the char"),
    "a field twice": (edit("epochs: 3", "epochs: 3\n    epochs: 4"), "job.yaml:22", "the field `epochs` is set twice",
                      "Remove one of them"),
    "a list for a name": (GOOD + "? [a]\n: 1\n", "job.yaml:22", "a field name is not a string", "Write `field: v"),
    "unknown anchor": (edit("{uri: test.jsonl}", "*x"), "job.yaml:18", "not valid YAML (found undefined", "Fix"),
    "an anchor in itself": (edit("[billing, delivery]", "&x [*x, a]"), "job.yaml:8", "an anchor contains itself",
                            "Write out the values"),
    "a merge of a string": (edit("{uri: test.jsonl}", "{<<: a}"), "job.yaml:18", "`<<`", "Write out the"),
    "bytes": (edit("support", "!!binary aGk="), "job.yaml:4", "the tag !!binary", "Remove"),
    "a set": (edit("[billing, delivery]", "!!set {a, b}"), "job.yaml:8", "the tag !!set", "Remove"),
    "a tag of Python": (edit("support", "!!python/name:os.system"), "job.yaml:4", "the tag !!python/name:os.system",
                        "Remove the tag"),
    "a word called a number": (edit("epochs: 3", "epochs: !!int x"), "job.yaml:21", "the int is not valid", "Put it"),
    "a number without end": (edit("128", "9" * 5000), "job.yaml:13", "the int is not valid, or too long", "Put it"),
    "YAML 1.1": ("%YAML 1.1\n---\n" + GOOD, "job.yaml:2", "the file declares YAML 1.1", "Remove the %YAML line"),
    "deep brackets": (edit("[billing, delivery]", "[" * 100_000), "job.yaml:8", f"nested deeper than {MAX_DEPTH}",
                      "Fix the brackets"),
    "deep indentation": ("".join(f"{' ' * n}a:\n" for n in range(900)), f"job.yaml:{MAX_DEPTH + 1}",
                         f"nested deeper than {MAX_DEPTH}", "Fix the brackets"),
    "too large": (GOOD + "#" * MAX_BYTES, "job.yaml", "the manifest is larger than 1 MiB", "Name a DistillationJob"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_bad_file_is_refused_with_its_line(case: str, folder: Path) -> None:
    content, place, problem, fix = FILES[case]
    error = refusal(content)
    assert error.at == place
    assert error.problem.startswith(problem)
    assert error.fix.startswith(fix)


LONG = "x" * 300_000
BOMBS = {
    "a string": f"a: &a {LONG}\nb: [{'*a, ' * 500}]\n",
    "a number": f"a: &a 0x{'f' * 300_000}\nb: [{'*a, ' * 500}]\n",
    "a key": f"a: &a {{? {LONG} : 1}}\nb: [{'*a, ' * 500}]\n",
    "a key that is merged": f"a: &a {{? {LONG} : 1}}\nb: {{<<: [{'*a, ' * 500}]}}\n",
    "texts in texts": f"a: &a {LONG}\nb: &b [{'*a, ' * 10}]\nc: [{'*b, ' * 50}]\n",
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_aliases_build_is_bounded_in_bytes(case: str, folder: Path, check_message: CheckMessage) -> None:
    """A string of 100 KB behind 90,000 aliases took 5.5 GB; these would take 150 MB and more."""
    (folder / "job.yaml").write_text(BOMBS[case])
    tracemalloc.start()
    try:
        with pytest.raises(InvalidManifest) as caught:
            read_document(folder / "job.yaml")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.at.startswith(f"{folder / 'job.yaml'}:")
    check_message(caught.value, "4 MiB")
    assert most < 20 * 2**20


def test_a_file_of_many_values_is_refused_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the parser would take a minute and 300 MB for a file of 1 MiB, and refuse it then."""
    monkeypatch.setattr(document, "MAX_VALUES", 100)
    (folder / "job.yaml").write_text("a:\n" + "- b\n" * 1000)
    with pytest.raises(InvalidManifest) as caught:
        read_document(folder / "job.yaml")
    assert caught.value.at == f"{folder / 'job.yaml'}:199"


def test_aliases_that_multiply_are_refused_at_once(folder: Path, check_message: CheckMessage) -> None:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    started = time.monotonic()
    check_message(refusal("\n".join(["a0: &a0 [x]", *lines])).problem, "100,000")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("name", "problem"), [("none.yaml", "No such file"), (".", "Is a directory")])
def test_file_that_cannot_be_read_is_refused(
    name: str, problem: str, folder: Path, check_message: CheckMessage
) -> None:
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(Path(name))
    check_message(caught.value, problem, "YAML")


def test_endless_file_is_refused(check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(Path("/dev/zero"))
    check_message(caught.value, "1 MiB")


# What is written, and what must be read: the same as kubectl reads.
READINGS = {
    "a float without a dot": (("2e-5", "2e-5"), lambda job: job.spec.training.optimizer.learning_rate, 2e-5),
    "a float with capital E": (("2e-5", "2E-5"), lambda job: job.spec.training.optimizer.learning_rate, 2e-5),
    "a hexadecimal number": (("epochs: 3", "epochs: 0x10"), lambda job: job.spec.training.epochs, 16),
    "a whole number for a float": (("2e-5", "1"), lambda job: job.spec.training.optimizer.learning_rate, 1.0),
    "a date": (("{source: student}", "{source: s, revision: 2024-02-30}"),
               lambda job: job.spec.student.model.revision, "2024-02-30"),
    "a time": (("source: teacher", "source: 2024-01-01T00:00:00Z"),
               lambda job: job.spec.teachers[0].model.source, "2024-01-01T00:00:00Z"),
    "yes and no": (("[billing, delivery]", "[yes, no]"), lambda job: job.spec.task.labels, ("yes", "no")),
    "a quoted number": (("[billing, delivery]", "['1', '2']"), lambda job: job.spec.task.labels, ("1", "2")),
    "a string by a tag": (("[billing, delivery]", "[!!str 1, b]"), lambda job: job.spec.task.labels, ("1", "b")),
    "an anchor": (("{uri: train.jsonl}\n    test: {uri: test.jsonl}", "&t {uri: a}\n    test: *t"),
                  lambda job: job.spec.data.test.uri, "a"),
    "a merge": (("{uri: train.jsonl}\n    test: {uri: test.jsonl}", "&t {uri: a}\n    test: {<<: *t}"),
                lambda job: job.spec.data.test.uri, "a"),
    "a merge under a field of its own": (
        ("{uri: train.jsonl}\n    test: {uri: test.jsonl}", "&t {uri: a}\n    test: {<<: [*t, *t], uri: b}"),
        lambda job: job.spec.data.test.uri, "b"),
    "a folded text": (("source: teacher", "source: >-\n          a\n          b"),
                      lambda job: job.spec.teachers[0].model.source, "a b"),
}  # fmt: skip


@pytest.mark.parametrize("case", READINGS)
def test_value_is_read_as_kubectl_reads_it(case: str, folder: Path) -> None:
    change, value, expected = READINGS[case]
    assert value(load(edit(*change))) == expected


@pytest.mark.parametrize(
    "content", [GOOD + "---\n", "---\n" + GOOD + "...\n", "\ufeff" + GOOD, "---\n# a\n---\n" + GOOD]
)
def test_empty_documents_and_byte_order_marks_do_no_harm(content: str, folder: Path) -> None:
    assert load(content).metadata.name == "support"


def test_line_is_that_of_the_document_which_is_there(folder: Path) -> None:
    assert refusal("---\n---\n" + edit("epochs: 3", "epochs: 0")).at == "job.yaml:23: spec.training.epochs"


def test_further_problems_follow_a_line_each(folder: Path) -> None:
    text = edit("epochs: 3", "epochs: 0").replace("maxModelLen", "maxModelLength").replace("source: teacher", "src: t")
    first, *others = str(refusal(text)).splitlines()
    assert first.startswith("job.yaml:12: spec.teachers[0].model.src: unknown field `src`")
    assert [line.split(": ")[1] for line in others] == [
        "spec.teachers[0].model.maxModelLength",
        "spec.training.epochs",
        "spec.teachers[0].model.source",
    ]


def test_only_ten_problems_are_told(folder: Path) -> None:
    lines = str(refusal(edit("[billing, delivery]", f"{[7] * 30}"))).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "and 20 more"


YAML_PIECES = st.sampled_from([
    "{", "}", "[", "]", ":", ",", "-", "?", "&a", "*a", "!", "!!", "|", ">", "'", '"', "%", "@", "`", "#", "~", "<<",
    "=", " ", "\n", "\t", "\\", "\0", "\x85", "\u2028", "\ufeff", "0x", "1e5", ".inf", "2020-01-01", "---\n", "...\n",
    "- ", ": ", "<<: ", "%YAML 1.2\n", "%TAG ! x\n", '"\\ud800"', '"\\U00110000"', "!!int ", "!!float ", "!!null ",
    "!<", "a", "kind", "spec",
])  # fmt: skip


@st.composite
def spoilt_manifests(draw: st.DrawFn) -> str:
    """Return a good manifest into which pieces of YAML have fallen."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + "".join(draw(st.lists(YAML_PIECES, max_size=3))) + text[place + draw(st.integers(0, 3)) :]
    return text


@settings(max_examples=300)
@given(text=spoilt_manifests() | st.lists(YAML_PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_no_text_raises_anything_but_invalid_manifest(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(InvalidManifest):
        assert isinstance(load_manifest(path), DistillationJob)


@given(data=st.data(), ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_json_is_yaml_too(
    data: st.DataObject,
    ascii_only: bool,
    indent: int | None,
    valid_specs: SearchStrategy[dict],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    values = {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": "a"},
        "spec": data.draw(valid_specs),
    }
    path = tmp_path_factory.getbasetemp() / "job.json"
    path.write_text(json.dumps(values, ensure_ascii=ascii_only, indent=indent), encoding="utf-8")
    assert load_manifest(path) == DistillationJob.model_validate_json(json.dumps(values))
