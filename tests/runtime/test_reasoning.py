"""Reasoning in the text of a reply."""

import pytest

from kubedistill_runtime.chat.reasoning import remove_reasoning
from kubedistill_runtime.chat.template import REASONING


@pytest.mark.parametrize("tags", REASONING, ids=lambda tags: tags[0])
def test_reasoning_between_known_tags_is_removed(tags: tuple[str, str]) -> None:
    opening, closing = tags
    assert remove_reasoning(f"\n{opening}hm{closing}\n\nyes\n") == "yes\n"
    assert remove_reasoning(f"{opening}hm{closing}so{closing}yes") == "yes"
    assert remove_reasoning(f"{opening}{closing}yes") == "yes"


@pytest.mark.parametrize("tags", REASONING, ids=lambda tags: tags[0])
def test_reasoning_that_never_ended_has_no_answer(tags: tuple[str, str]) -> None:
    assert remove_reasoning(f"{tags[0]}hm") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [("hm\n</think>\n\nyes", "yes"), ("</think>\nyes", "yes"), ("hm\r\n</think> \r\nyes", "yes"), ("a\n</think>", "")],
)
def test_a_closing_tag_on_its_own_line_ends_reasoning(text: str, answer: str) -> None:
    assert remove_reasoning(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        " yes ",
        "Close it with </think>, then answer.",
        "Write <think>x</think> first.",
        "a\n`</think>`\nb",
        "1 < 2",
        "So:\n<think>\nx\n</think>\ny",
    ],
)
def test_text_about_tags_is_no_reasoning(text: str) -> None:
    assert remove_reasoning(text) == text
