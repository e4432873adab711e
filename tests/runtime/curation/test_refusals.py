"""Refusals: texts that only decline to answer, in any language of the table, and nothing else."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.curation.refusals import PHRASES, contains_refusal, is_refusal

REFUSALS = {
    "English": [
        "I'm sorry, but I can’t help with that.",
        "I CANNOT ASSIST WITH THIS REQUEST.",
        "Sorry, I can't assist you with that request. If you have any other questions, feel free to ask!",
        "Unfortunately, I am not able to help with this.",
        "As an AI language model, I cannot browse the internet.",
        "I must respectfully decline.",
        "I can't help you.",
        "I apologize, but I cannot provide information on this topic.",
    ],
    "German": [
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Ich kann Ihnen dabei leider nicht helfen.",
        "Tut mir leid, ich kann dir nicht weiterhelfen.",
        "Leider darf ich diese Anfrage nicht beantworten.",
    ],
    "French": ["Je suis désolé, mais je ne peux pas vous aider.", "Désolé, je ne peux pas t'aider avec ça."],
    "Spanish": ["Lo siento, pero no puedo ayudarte con eso."],
    "Italian": ["Mi dispiace, ma non posso aiutarti."],
    "Portuguese": ["Desculpe, não posso ajudar com isso."],
    "Dutch": ["Sorry, daar kan ik je niet mee helpen."],
    "Polish": ["Przykro mi, ale nie mogę w tym pomóc."],
    "Russian": ["Извините, но я не могу вам помочь.", "К сожалению, я не могу выполнить этот запрос."],
    "Turkish": ["Üzgünüm, bu konuda size yardımcı olamam.", "ÜZGÜNÜM, İSTEĞİNİZİ YERİNE GETİREMEM."],
    "Chinese": ["很抱歉，我无法帮助您完成这个请求。", "对不起，我不能提供这类信息。", "抱歉，我無法協助。"],
    "Japanese": [
        "申し訳ございませんが、そのご要望にはお応えできません。",
        "申し訳ありませんが、お手伝いすることはできません。",
    ],
    "Korean": ["죄송합니다. 그 요청은 도와드릴 수 없습니다.", "죄송하지만 도와드릴 수 없습니다."],
    "Arabic": ["عذرًا، لا أستطيع مساعدتك في هذا.", "آسف، لا يمكنني المساعدة في ذلك."],
    "Hindi": ["क्षमा करें, मैं इसमें मदद नहीं कर सकता।", "माफ़ कीजिए, मैं आपकी सहायता करने में असमर्थ हूँ।"],
}

ANSWERS = [
    "", "42", "yes", "I can't help crying.", "I do not know.", "The passage does not say.", "I cannot answer that.",
    "He said: I can't help with that.",
    "I'm sorry, I can't help with legal matters, but in general you have 30 days to object.",
    "Es tut mir leid, dabei kann ich nicht helfen, aber der Preis ist 30 Euro.",
    "Sorry for the delay. Your parcel arrives on Monday.",
    "I'm sorry to hear that. Please send us the number of your order.",
    "Ich kann nicht glauben, dass das hilft.", "Leider ist der Artikel nicht lieferbar.",
    "Je ne peux pas croire cela.", "No puedo dormir.", "我不能吃肉。", "对不起，您的订单明天到。",
    "申し訳ありません。ご注文は明日届きます。", "죄송합니다. 주문하신 상품은 내일 도착합니다.", "لا أستطيع النوم ليلا.",
    "Я не могу решить это иначе: x = 2.", "print('I cannot assist with that')", '{"answer": "I must decline"}',
    "$x = \\frac{1}{2}$", "I can't help with that." + " A long explanation follows." * 12,
]  # fmt: skip


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, some in REFUSALS.items() for text in some])
def test_a_refusal_is_found_in_its_language(language: str, text: str) -> None:
    assert is_refusal(text)
    assert contains_refusal(f"If in doubt, say: {text}")


def test_every_language_has_a_case() -> None:
    assert REFUSALS.keys() == PHRASES.keys()


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_not_a_refusal(text: str) -> None:
    assert not is_refusal(text)


TEXTS = st.sampled_from([*ANSWERS, *(text for some in REFUSALS.values() for text in some)])


@given(TEXTS, st.sampled_from([str.upper, str.lower, lambda text: f"  {text}\n", lambda text: text.replace(",", "")]))
def test_case_white_space_and_commas_do_not_matter(text: str, change: Callable[[str], str]) -> None:
    assert is_refusal(change(text)) == is_refusal(text)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert is_refusal(text) <= contains_refusal(text)
