"""The reference page says what the models say."""

import io
from pathlib import Path

import pytest

from kubedistill.schema.reference import write_reference

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


@pytest.fixture(scope="module")
def page() -> str:
    stream = io.StringIO()
    write_reference(stream)
    return stream.getvalue()


def test_the_page_on_file_is_the_one_that_the_models_give(page: str) -> None:
    assert PAGE.read_text() == page, "make docs"


@pytest.mark.parametrize(
    "line",
    [
        "### spec.training.optimizer",
        "### status.stages[]",
        "| `temperature` | number (0 to 2) |",
        "| `topP` | number (above 0 to 1) | `1.0` |",
        '| `type` | `Auto`, `Sequence`, `CachedLogits` | `"Auto"` |',
        "| `configMapKeyRef` | object |  |",
        "- exactly one of uri and configMapKeyRef must be set",
        "| `labels` | map of string |",
    ],
)
def test_a_field_is_described_with_type_limits_and_default(page: str, line: str) -> None:
    assert line in page


def test_every_field_has_words(page: str) -> None:
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if len(row.split(" | ")[-1].strip(" |")) < 10]
