"""Repetition: what says one phrase over and over is rejected in any script, and what is regular for a reason is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.curation.repetition import is_repetitive

HOW_TO = (
    "To replace the filter, first switch the machine off and let it cool for an hour. Turn the cover to the left "
    "until it clicks and lift it off. Take the old filter out and rinse its seat with cold water. Before you move on, "
    "make sure that the seal sits flat in its groove. Put the new filter in with the arrow pointing down. Before you "
    "move on, make sure that the seal sits flat in its groove. Close the cover, and run the machine once without "
    "beans."
)
PARAGRAPH = (
    "Our shop opens at nine in the morning and closes at six in the evening. You can reach us by phone or by mail, and "
    "we answer within two days. If a parcel is late, send us its number, and we will ask the carrier where it is and "
    "tell you by mail as soon as we know more about it."
)

REPETITIVE = {
    "Chinese": "我不知道该怎么办。" * 200,
    "a little Chinese": "我不知道该怎么办。" * 10,
    "Japanese": "申し訳ございません。" * 30,
    "Thai": "ไม่ทราบ" * 300,
    "Khmer": "ខ្ញុំមិនដឹងទេ។" * 40,
    "Arabic": "لا أعرف ماذا أفعل الآن. " * 12,
    "Hindi": "मुझे नहीं पता। " * 20,
    "one letter": "A" * 2000,
    "one letter in capitals and not": "aA" * 300,
    "signs": "=-" * 400,
    "an emoji": "😂" * 100,
    "line breaks and one word": "no\n\n\n" * 100,
    "a short sentence": "I am sorry. " * 16,
    "a sentence in two cases": "I am sorry. i AM sorry! " * 8,
    "a sentence after a sound beginning": HOW_TO + " I can not say more about this filter than that, sorry." * 5,
    "a paragraph": "\n\n".join([PARAGRAPH] * 4),
    "a paragraph among others": "\n\n".join([PARAGRAPH, HOW_TO, PARAGRAPH, PARAGRAPH]),
    "a line of code": "    results.append(compute(value, factor=2, offset=start, scale=None, mode='fast', clip=True))\n"
    * 12,
}

SOUND = {
    "nothing": "",
    "a word": "Yes.",
    "a short chorus": "Ha ha ha ha ha ha ha ha ha ha ha ha.",
    "a how-to that says a phrase twice": HOW_TO,
    "a paragraph that stands twice": f"{PARAGRAPH}\n\n{PARAGRAPH}",
    "a Chinese text": "请先关闭机器并等待一个小时。然后向左转动盖子,把它取下来。"
    "取出旧的滤芯,用冷水冲洗底座。最后放入新的滤芯并盖好盖子。",
    "a Thai text": "กรุณาปิดเครื่องและรอหนึ่งชั่วโมง จากนั้นหมุนฝาไปทางซ้ายแล้วยกออก นำไส้กรองเก่าออกและล้างด้วยน้ำเย็น",
    "a table": "| day | high | low | rain |\n|---|---|---|---|\n"
    + "\n".join(f"| {day} | {day % 7 + 20} | {day % 5 + 10} | {'yes' if day % 3 else 'no'} |" for day in range(1, 31)),
    "JSON": json.dumps([{"id": one, "name": f"item {one}", "price": one * 1.5, "inStock": True} for one in range(30)]),
    "indented JSON": json.dumps(
        [{"id": one, "name": f"User {one}", "email": f"user{one}@example.com"} for one in range(30)], indent=4
    ),
    "SQL": "\n".join(
        f"INSERT INTO users (id, name, email) VALUES ({one}, 'User {one}', 'user{one}@example.com');"
        for one in range(100)
    ),
    "numbers": ", ".join(map(str, range(1, 201))),
    "numbers in lines": "\n".join(map(str, range(1, 201))),
    "a table of products": "\n".join(f"{one} x 7 = {one * 7}" for one in range(1, 101)),
    "short text between rules": "\n".join(["=" * 60, "Result", "=" * 60, HOW_TO, "-" * 60]),
    "code": "\n\n".join(
        f"def test_{name}() -> None:\n    assert convert({number}) == {number * 2}\n    assert not convert(-{number})"
        for number, name in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REPETITIVE)
def test_a_phrase_over_and_over_is_repetition(case: str) -> None:
    assert is_repetitive(REPETITIVE[case])


@pytest.mark.parametrize("case", SOUND)
def test_a_regular_text_is_sound(case: str) -> None:
    assert not is_repetitive(SOUND[case])


DIFFERENT = [f"word{number}" for number in range(400)]
PHRASE = [f"phrase{number}" for number in range(10)]


@given(count=st.integers(1, 6), between=st.integers(0, 60))
def test_a_phrase_counts_from_three_occurrences_and_over_a_fifth_of_the_text(count: int, between: int) -> None:
    words = [word for place in range(count) for word in (*PHRASE, *DIFFERENT[place * between : (place + 1) * between])]
    share = len(PHRASE) / (len(PHRASE) + between)
    assert is_repetitive(" ".join(words)) == (count >= 3 and share > 0.2)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_judged_and_forty_times_of_it_is_repetition(text: str) -> None:
    is_repetitive(text)
    if len(" ".join((text * 40).split()).encode()) > 1000:
        assert is_repetitive(text * 40)
