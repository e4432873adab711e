"""Which short answers are the same: what a reader would call one answer, and never two different values."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.evaluation.metrics.normalization import answer_words, squad_words
from kubedistill_runtime.evaluation.metrics.text import exact_match, token_f1

EQUAL = {
    "thousands": ["1000", "1,000", "1000.0", "1e3", "1E+3", "1,000.00", "1'000", "1’000", "1\u202f000", "+1000"],
    "millions": ["1000000", "1,000,000", "1.000.000", "1e6"],
    "decimals": ["3.14", "3.1400", "٣٫١٤", "３．１４", "314e-2", "۳٫۱۴"],
    "whole": ["42", "42.0", "٤٢", "४२", " 42. "],
    "half": ["½", "1/2", "0.5", ".5", "1⁄2", "0.50"],
    "mixed": ["1½", "1 1/2", "1.5", "3/2"],
    "negative": ["-5", "−5", "–5", "﹣5", "－5", "-5.0", "“-5”"],
    "percent": ["50%", "50 %", "50.0%", "٥٠٪", "５０％"],
    "negative percent": ["-2.5%", "−2.50 %"],
    "dollars": ["$1,000", "$1000.00"],
    "negative dollars": ["-$5", "$-5"],
    "euros": ["5€", "5.00€"],
    "nothing": ["0", "-0", "0.00"],
    "ambiguous": ["1.000", " 1.000.", "١٫٠٠٠"],
    "words": ["Denver Broncos", "the Denver Broncos!", "denver  broncos", "“Denver Broncos.”", "**Denver Broncos**"],
    "French": ["café", "cafe\u0301", "Café.", "CAFÉ"],
    "German": ["Straße", "STRASSE", "„Straße“"],
    "Chinese": ["北京", "北京。", "「北京」", "《北京》", " 北京！"],
    "Arabic": ["القاهرة", "القاهرة؟", "\u200fالقاهرة\u200f", "«القاهرة»"],
    "Spanish": ["sí", "¡Sí!", "si\u0301"],
    "Japanese": ["ガム", "ｶﾞﾑ", "ガム。"],
    "width": ["ABC 123", "ＡＢＣ　１２３"],
    "Paris": ["Paris", "“Paris”", "'Paris'", "«Paris»", "(Paris)", "Paris.", "- Paris", "`Paris`", "**Paris**."],
    "place": ["Denver, Colorado", "Denver Colorado"],
    "apostrophe": ["don't", "don’t"],
    "dash": ["1939-1945", "1939–1945"],
    "initials": ["U.S.", "u.s"],
    "article": ["a dog", "dog", "The dog", "A dog."],
    "option": ["B", "(b)", "b."],
    "programming": ["C++", "c++."],
}
DIFFERENT = {
    "sign": ["5", "-5", "±5", "5-", "- 5"],
    "mark": ["3.14", "314", "3,14", "3-14", "3:14"],
    "percent": ["50%", "50", "50‰", "0.5", "$50", "50€"],
    "fraction": ["1/2", "12", "1-2", "2/1"],
    "mixed": ["1½", "11/2", "1-1/2", "½"],
    "time signatures": ["3/4", "6/8"],
    "thousand or one": ["1,000", "1.000", "1"],
    "leading zeros": ["7", "007", "07"],
    "powers": ["x²", "x2", "x^2", "x₂"],
    "more powers": ["10²", "102", "10^2", "100"],
    "exponents": ["1e3", "13", "1-3", "1e-3"],
    "languages": ["C", "C++", "C#", "C-"],
    "names": ["NET", ".NET", "#NET", "@NET"],
    "grades": ["A", "A+", "A-", "A*"],
    "factorials": ["5", "5!", "n!", "n"],
    "lengths": ["5", "5'", '5"', "5°"],
    "intervals": ["[1, 2]", "[1, 2)", "(1, 2)", "{1, 2}"],
    "articles": ["The", "A", "The The"],
    "Slovenian": ["ne a da", "ne da"],
    "Galician": ["A Coruña", "Coruña"],
    "choices": ["A, B", "B", "A", "A or B"],
    "marks": ["?", "!", "&", "%", "…"],
    "words": ["and/or", "and or", "andor"],
    "dates": ["01/02", "1/2", "01-02"],
}


@pytest.mark.parametrize("kind", EQUAL)
def test_spellings_of_one_answer_are_equal(kind: str) -> None:
    spellings = EQUAL[kind]
    assert {answer_words(text) for text in spellings} == {answer_words(spellings[0])}
    assert all(exact_match(text, ["zzz", spellings[0]]) == 1 for text in spellings)


@pytest.mark.parametrize("kind", DIFFERENT)
def test_different_answers_are_never_equal(kind: str) -> None:
    texts = DIFFERENT[kind]
    equal = [(one, other) for one in texts for other in texts if one != other and exact_match(one, [other])]
    assert equal == []


@given(st.text(max_size=30))
def test_a_string_equals_itself_in_any_composition(text: str) -> None:
    assert exact_match(text, [text]) == 1
    assert token_f1(text, [text]) == pytest.approx(1)
    assert answer_words(unicodedata.normalize("NFC", text)) == answer_words(unicodedata.normalize("NFD", text))


numbers = st.decimals(min_value=-(10**6), max_value=10**6, places=4).map(float)


@given(numbers, numbers)
def test_numbers_are_equal_where_their_values_are(one: float, other: float) -> None:
    spellings = f"{one:.4f}", f"{other:,.4f}"
    assert exact_match(spellings[0], [spellings[1]]) == (one == other)


@given(st.from_regex(r"[-+]?[0-9]{1,500}([.,/e][0-9]{0,9}){0,3}", fullmatch=True))
def test_anything_like_a_number_can_be_compared(text: str) -> None:
    assert exact_match(text, [text]) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Denver Broncos", ("denver", "broncos")),
        ("  A  quick,\tbrown\nfox! ", ("quick", "brown", "fox")),
        ("the an a", ()),
        ("U.S. Army", ("us", "army")),
        ("It's an anaconda", ("its", "anaconda")),  # an article inside a word is not one
        ("10,000", ("10000",)),
        ("3.14", ("314",)),
        ("Théâtre", ("théâtre",)),
    ],
)
def test_squads_own_rule_can_be_chosen(text: str, words: tuple[str, ...]) -> None:
    assert squad_words(text) == words


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("北京市", "北京", 4 / 5),  # two characters of three and of two
        ("2008年", "2008", 2 / 3),
        ("東京タワー", "東京", 4 / 7),
        ("about 1,000 km", "1000 km", 4 / 5),
        ("-5 degrees", "5 degrees", 1 / 2),
        ("القاهرة، مصر", "القاهرة", 2 / 3),
    ],
)
def test_token_f1_counts_words_and_characters_of_scripts_without_spaces(answer: str, reference: str, f1: float) -> None:
    assert token_f1(answer, [reference]) == pytest.approx(f1)
