"""Scripts: an answer in a script that its prompt neither has nor asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.curation.scripts import NAMES, is_in_other_script

TEXTS = {
    "Chinese": "我不知道该怎么办。请先关闭机器并等待一个小时。",
    "Japanese": "申し訳ございませんが、明日までお待ちいただけますか。",
    "Korean": "기계를 끄고 한 시간 동안 기다린 다음 다시 시도하십시오.",
    "Russian": "Я не знаю, что делать в этой ситуации.",
    "Greek": "Δεν ξέρω τι να κάνω σε αυτή την περίπτωση.",
    "Arabic": "لا أعرف ماذا أفعل في هذه الحالة.",
    "Hebrew": "אני לא יודע מה לעשות במצב הזה.",
    "Hindi": "मुझे नहीं पता कि इस स्थिति में क्या करना चाहिए।",
    "Thai": "ฉันไม่รู้ว่าจะทำอย่างไรในสถานการณ์นี้",
    "German": "Ich weiß nicht, was ich in dieser Lage tun soll.",
    "code": "def sort(items: list[int]) -> list[int]:\n    return sorted(items, key=lambda item: -item)",
    "JSON": '{"name": "filter", "steps": ["switch off", "wait"], "seconds": 3600}',
    "math": "$\\alpha + \\beta = \\frac{\\pi}{2}$, α + β = π/2, Σ x² ≤ ∫ f(θ) dθ",
}
LATIN = {"German", "code", "JSON", "math"}
SHARED = [{"Chinese", "Japanese"}, {"Greek", "math"}]


@pytest.mark.parametrize("prompt", TEXTS)
@pytest.mark.parametrize("answer", TEXTS)
def test_an_answer_in_a_script_that_the_prompt_does_not_have_is_found(prompt: str, answer: str) -> None:
    other = answer not in LATIN and answer != prompt and {answer, prompt} not in SHARED
    assert is_in_other_script(TEXTS[answer], [TEXTS[prompt]]) == other


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("Chinese", "Answer in Chinese."),
        ("Chinese", "Traduis ce texte."),
        ("Chinese", "Übersetze den Satz."),
        ("Japanese", "Schreibe den Satz auf Japanisch."),
        ("Russian", "Как это будет? Say it in Russian."),
        ("Russian", "用俄语怎么说？"),
        ("Korean", "¿Cómo se dice en coreano?"),
        ("Arabic", "Reply in ARABIC only"),
        ("Hindi", "اكتبها باللغة الهندية من فضلك: الهندي"),
        ("Greek", "The first lines of the Odyssey, in the original"),
    ],
)
def test_a_prompt_may_ask_for_a_script(answer: str, prompt: str) -> None:
    assert not is_in_other_script(TEXTS[answer], [prompt])
    assert is_in_other_script(TEXTS[answer], ["What should I do?"])


@pytest.mark.parametrize(
    "answer",
    [
        "α",
        "гласность",
        "東京",
        "The Russian word is «справедливость», which means justice.",
        "😂" * 40,
        "１２３４５" * 9,
        "",
    ],
)
def test_words_and_symbols_of_another_script_are_part_of_an_answer(answer: str) -> None:
    assert not is_in_other_script(answer, ["What is it called?"])


def test_a_machine_is_not_a_language() -> None:
    assert is_in_other_script(TEXTS["Chinese"], ["How do I clean the machine? Is rust a problem?"])


@given(st.text(max_size=200), st.lists(st.text(max_size=60), max_size=3))
def test_more_shown_texts_never_make_an_answer_foreign(text: str, shown: list[str]) -> None:
    assert is_in_other_script(text, shown) <= is_in_other_script(text, [])
    assert not is_in_other_script(text, [*shown, text])
    assert is_in_other_script(text, shown) == is_in_other_script(text, shown[::-1])


def test_every_script_has_names() -> None:
    assert all(names.split() for names in NAMES.values())
