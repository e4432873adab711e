"""Leaks: what training prompts may share with test prompts, at what cost, and the shipped examples' own data."""

import random
import time
import tracemalloc
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.checks.splits import hold_out
from kubedistill_runtime.curation.leaks import find_leaks
from kubedistill_runtime.curation.runs import NGRAM
from kubedistill_runtime.records import Message, Record, Split
from support.job_folder import QUICKSTART

LONG = " ".join(f"word{number}" for number in range(20))
CHINESE = "今天天气很好我们一起去公园散步然后在湖边的小店里喝一杯热茶再慢慢走回家"
THAI = "วันนี้อากาศดีมากเราจึงไปเดินเล่นในสวนสาธารณะด้วยกันแล้วดื่มชาร้อนที่ร้านริมทะเลสาบ"
HINDI = "आज मौसम बहुत अच्छा है इसलिए हम सब लोग पार्क में घूमने जाएंगे और चाय पिएंगे"
JAPANESE = "きょうは天気がよいのでみんなで公園へ散歩に行きました"


def asks(*texts: str, system: str | None = None, record_id: str = "r") -> Record:
    first = (Message("system", system),) if system else ()
    return Record(record_id, (*first, *(Message("user", text) for text in texts)))


def talk(*texts: str) -> Record:
    """Return turns of user and assistant by turns, the last one the user's."""
    return Record("r", tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)))


def prompts(texts: Sequence[str], split: str = "train") -> list[Record]:
    return [asks(text, record_id=f"{split} {number}") for number, text in enumerate(texts)]


def leaked(train: Sequence[str], test: Sequence[str]) -> list[int]:
    """Return which of the training prompts leak."""
    return [int(record_id.split()[1]) for record_id in find_leaks(prompts(train), prompts(test, "test"))]


PAIRS: dict[str, tuple[Record, Record, bool]] = {
    "the same text": (asks(LONG), asks(LONG), True),
    "in other letters and signs": (asks(f"Well, {LONG.upper()}!"), asks(LONG.replace(" ", ", ")), True),
    "13 words of it": (asks(" ".join(LONG.split()[:NGRAM])), asks(LONG), True),
    "12 words of it": (asks(" ".join(LONG.split()[: NGRAM - 1])), asks(LONG), False),
    "13 words amid others": (asks(f"so {' '.join(LONG.split()[3:16])} it goes"), asks(f"on {LONG} and on"), True),
    "a short text": (asks("Yes"), asks("yes."), True),
    "its start": (asks("Yes"), asks("Yes, please"), False),
    "a greeting in common": (asks("Thanks", "Where is it?"), asks("Thanks", "I want my money back"), False),
    "a whole talk": (asks("Thanks", "Where is it?"), asks("Thanks", "Where is it?"), True),
    "another system message": (asks(LONG, system="Be brief."), asks(LONG, system="Be kind."), True),
    "a context of one's own": (
        asks("What is it?", system="Ticket 17: no light"), asks("What is it?", system="Ticket 18: no sound"), False,
    ),
    "the same context": (
        asks("What is it?", system="Ticket 17: no light"), asks("What is it?", system="Ticket 17: No light."), True,
    ),
    "13 words of a context": (asks("What?", system=f"{LONG} a"), asks("Who?", system=f"b {LONG}"), True),
    "an earlier reply of its own": (talk("Hi", "Which book?", "Yes"), talk("Hi", "Which film?", "Yes"), False),
    "the same replies": (talk("Hi", "Which book?", "Yes"), talk("hi", "which book", "yes"), True),
    "13 words of a reply": (talk("Hi", f"a {LONG}", "Yes"), talk("Oh", LONG, "No"), True),
    "a system message in common": (asks("one", system=LONG), asks("two", system=LONG), False),
    "no words at all": (asks("???"), asks("!!!"), False),
    "the same signs": (asks("???"), asks("???"), True),
    "letters that fold": (asks("übergröße"), asks("ÜBERGRÖSSE"), True),
    "composed and decomposed": (asks("Où est le café ?"), asks(unicodedata.normalize("NFD", "où est le CAFÉ?")), True),
    "decomposed in a long text": (asks(f"{LONG} é"), asks(unicodedata.normalize("NFD", f"{LONG} é")), True),
    "curly and straight quotes": (asks("What’s “this”?"), asks('What\'s "this"?'), True),
    "a zero-width space": (asks("Where\u200b is it"), asks("Where is it"), True),
    "plus and minus": (asks("2-2="), asks("2+2="), False),
    "plus and times": (asks("2*2"), asks("2+2="), False),
    "a sum and its spaces": (asks("2 + 2 = ?"), asks("2+2=?"), True),
    "a minus of typesetters": (asks("5 \u2212 3 ="), asks("5-3="), True),
    "a negative number": (asks("What is -5 squared?"), asks("What is 5 squared?"), False),
    "a decimal point": (asks("Round 3.14"), asks("Round 314"), False),
    "a percentage": (asks("Take 50%"), asks("Take 50"), False),
    "a fraction": (asks("Add 1/2"), asks("Add 1 2"), False),
    "a power": (asks("x^2"), asks("x2"), False),
    "a superscript": (asks("x²"), asks("x2"), False),
    "a factorial": (asks("What is 5!?"), asks("What is 5?"), False),
    "brackets": (asks("2*(3+4)"), asks("(2*3)+4"), False),
    "C and C++": (asks("What is C?"), asks("What is C++?"), False),
    "an emoji": (asks("Rate it 👍"), asks("Rate it 👎"), False),
    "a long formula with other signs": (
        asks("1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 + 2 + 3 + 4 + 5 ="),
        asks("1 - 2 - 3 - 4 - 5 - 6 - 7 - 8 - 9 - 1 - 2 - 3 - 4 - 5 ="), False,
    ),
    "a long formula with other spaces": (
        asks("Compute 1+2+3+4+5+6+7+8+9+1+2+3+4+5 now"),
        asks("Now: 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 1 + 2 + 3 + 4 + 5"), True,
    ),
    "Chinese amid others": (asks(f"请问：{CHINESE}，对吗"), asks(f"“{CHINESE}”"), True),
    "26 characters of Chinese": (asks(f"请问{CHINESE[:26]}对"), asks(f"说{CHINESE}"), True),
    "25 characters of Chinese": (asks(f"请问{CHINESE[:25]}对"), asks(f"说{CHINESE}"), False),
    "short Chinese": (asks("北京在哪里"), asks("北京在哪里？"), True),
    "other short Chinese": (asks("北京在哪里"), asks("南京在哪里"), False),
    "Japanese amid others": (asks(f"ねえ、{JAPANESE}よね。"), asks(f"「{JAPANESE}」"), True),
    "Thai amid others": (asks(f"ถาม {THAI} ครับ"), asks(f"ตอบ {THAI}"), True),
    "one word of Thai": (asks("วันนี้ร้อน"), asks("วันนี้หนาว"), False),
    "Hindi, whose words hold marks": (asks(f"बताइए {HINDI}"), asks(f"क्या {HINDI}"), True),
    "12 words of Hindi": (asks(f"बताइए {' '.join(HINDI.split()[:12])}"), asks(f"क्या {HINDI}"), False),
    "Chinese with words of English": (
        asks(f"Hello {CHINESE[:10]} machine learning {CHINESE[10:20]} bye"),
        asks(f"{CHINESE[:10]} Machine Learning {CHINESE[10:20]}"), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PAIRS)
def test_a_prompt_leaks_if_it_says_what_a_test_prompt_says(case: str) -> None:
    train, test, leaks = PAIRS[case]
    assert bool(find_leaks([train], [test])) == leaks
    assert bool(find_leaks([test], [train])) == leaks


def test_a_leak_shows_the_words_and_the_test_record() -> None:
    train = [asks(f"so {LONG} it is", record_id="a"), asks("Yes!", record_id="b"), asks(f"说{CHINESE}", record_id="c")]
    test = [asks("yes", record_id="x"), asks(f"oh, {LONG.upper()}", record_id="y"), asks(CHINESE, record_id="z")]
    leaks = find_leaks(train, test)
    assert {record_id: leak.test for record_id, leak in leaks.items()} == {"a": "y", "b": "x", "c": "z"}
    assert leaks["a"].shared == " ".join(LONG.split()[:NGRAM])
    assert leaks["b"].shared == "Yes!"
    assert leaks["c"].shared == CHINESE[:26]


def test_a_whole_prompt_is_shown_shortened() -> None:
    (leak,) = find_leaks([asks(LONG * 20)], [asks(LONG * 20)]).values()
    assert leak.shared == f"{(LONG * 20)[:120]} …"


WORDS = st.lists(st.sampled_from(["a", "b", "-", "4"]), min_size=1, max_size=30).map(" ".join)


@given(WORDS, WORDS)
def test_leaking_is_mutual_and_a_prompt_always_leaks_into_itself(first: str, second: str) -> None:
    assert leaked([first], [first]) == [0]
    assert leaked([first], [second]) == leaked([second], [first])


@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6))
def test_order_and_repetition_of_the_records_change_no_leak(train: list[str], test: list[str]) -> None:
    found = {train[place] for place in leaked(train, test)}
    assert {train[::-1][place] for place in leaked(train[::-1], test[::-1])} == found
    assert {(train * 3)[place] for place in leaked(train * 3, test * 2)} == found


def messages(count: int, *, seed: int, words: int = 12) -> list[str]:
    """Return texts of common words that share no 13 of them."""
    draw = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(300)]
    return [" ".join(draw.choices(vocabulary, k=words)) for _ in range(count)]


TEMPLATES = {
    "a support mailbox": "Below is a message that a customer sent to our support team. Read it and name the one label "
    "that fits it best.\n\nMessage: {}",
    "Alpaca": "Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n{}\n\n### Response:",
    "few shots": f"Q: {LONG} A: yes Q: {LONG[::-1]} A: no Q: {{}} A:",
    "Chinese": f"{CHINESE}。问题：{{}}",
    "the same end": f"{{}} {LONG}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_instruction_in_every_prompt_is_not_a_leak(name: str) -> None:
    train, test = messages(160, seed=1), messages(40, seed=2)
    template = TEMPLATES[name]
    assert leaked([template.format(text) for text in train], [template.format(text) for text in test]) == []


def test_a_template_and_the_first_words_of_a_message_are_not_13_words_of_a_leak() -> None:
    """Two messages that begin alike share 13 words with the template before them, and nothing of their own."""
    template = TEMPLATES["a support mailbox"]
    train = [template.format(f"I want {text}") for text in messages(40, seed=1)]
    train += [template.format(f"My new parcel {messages(1, seed=3)[0]}")]
    test = [template.format(f"My new parcel {messages(1, seed=4)[0]}"), template.format(f"I want {LONG[:20]}")]
    assert leaked(train, test) == []


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_template_in_a_part_of_the_prompts_drops_none_of_them(share: float) -> None:
    template = TEMPLATES["Alpaca"]
    train, test = messages(200, seed=1), messages(40, seed=2)
    mixed = [
        [template.format(text) if place < share * len(texts) else text for place, text in enumerate(texts)]
        for texts in (train, test)
    ]
    assert leaked(*mixed) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_leak_is_found_within_a_template(name: str) -> None:
    template = TEMPLATES[name]
    train, test = messages(160, seed=1), messages(40, seed=2, words=40)
    train[7], train[11] = test[3], f"{test[5]} please"
    found = leaked([template.format(text) for text in train], [template.format(text) for text in test])
    assert found == [7, 11]


def test_a_whole_prompt_leaks_even_if_all_its_words_are_boilerplate() -> None:
    assert leaked([LONG] * 5 + [f"{LONG} {number}" for number in range(5)], [LONG, f"{LONG} x"]) == list(range(10))


WHOLE: dict[str, tuple[list[str], list[str], list[int]]] = {
    # Training prompts, test prompts, and the training prompts that leak.
    "a test prompt with 5 tails": ([f"{LONG} {tail}" for tail in "abcde"], [LONG], [0, 1, 2, 3, 4]),
    "a test prompt with 5 heads": ([f"{head} {LONG}" for head in "abcde"], [LONG], [0, 1, 2, 3, 4]),
    "amid others": ([f"{head} {LONG} {head}" for head in "abcde"], [f"{LONG}!"], [0, 1, 2, 3, 4]),
    "13 words with 3 tails": ([f"{' '.join(LONG.split()[:13])} {tail}" for tail in "abc"],
                              [" ".join(LONG.split()[:13])], [0, 1, 2]),
    "12 words with 3 tails": ([f"{' '.join(LONG.split()[:12])} {tail}" for tail in "abc"],
                              [" ".join(LONG.split()[:12])], []),
    "Chinese with 4 tails": ([f"{CHINESE}{tail}" for tail in "甲乙丙丁"], [CHINESE], [0, 1, 2, 3]),
    "Thai with 4 tails": ([f"{THAI} {tail}" for tail in "กขคง"], [THAI], [0, 1, 2, 3]),
    "a test prompt and what it was made of": (
        [" ".join(LONG.split()[:size]) for size in (14, 15, 16, 17)], [LONG], [0, 1, 2, 3],
    ),
    "test prompts that contain each other": (
        [f"{' '.join(LONG.split()[:14])} other"], [" ".join(LONG.split()[:size]) for size in (14, 16, 20)], [0],
    ),
    "a template without its text": (
        [f"{LONG} {tail}" for tail in "abcde"], [LONG, *(f"{LONG} {tail}" for tail in "uvwxyz")], [],
    ),
    "other remainders": ([f"{LONG} {tail}" for tail in "abcde"], [f"{LONG} x"], []),
    "a template and a short message": (
        [f"{LONG} {message}" for message in ("card", "my card", "card lost", "no", "hi")],
        [f"{LONG} card", f"{LONG} x"], [0],
    ),
    "a test prompt and a template with other remainders": (
        [*(f"{LONG} {CHINESE}{tail}" for tail in "甲乙丙丁"), *(f"{LONG} {tail}" for tail in "abcd")],
        [f"{LONG} {CHINESE}"], [0, 1, 2, 3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_a_prompt_that_stands_whole_in_another_leaks_however_often(case: str) -> None:
    train, test, leaks = WHOLE[case]
    assert leaked(train, test) == leaks


@pytest.mark.parametrize("count", [2, 5, 40])
def test_expansions_of_a_test_conversation_leak(count: int) -> None:
    """Each training record has one more turn of the conversation that a test record is a part of."""
    turns = messages(count + 2, seed=5, words=15)
    train = [asks(*turns[:size], record_id=f"train {size}") for size in range(1, count + 1) if size != count // 2]
    assert len(find_leaks(train, [asks(*turns[: count // 2])])) == len(train)


@pytest.mark.parametrize("shape", ["{}", TEMPLATES["Alpaca"]])
def test_a_test_file_that_is_the_training_file_leaks_whole(shape: str) -> None:
    texts = [shape.format(text) for text in messages(50, seed=1, words=30)]
    assert leaked(texts, texts) == list(range(50))


def test_a_test_file_that_is_a_part_of_the_training_file_leaks_that_part() -> None:
    texts = messages(50, seed=1, words=30)
    assert leaked(texts, texts[10:20]) == list(range(10, 20))


def test_test_prompts_that_stand_twice_are_not_boilerplate() -> None:
    text = messages(1, seed=1, words=30)[0]
    assert leaked([f"now {text}"], [f"so {text}"] * 3) == [0]


@pytest.mark.parametrize(("train", "test", "leaks"), [(2, 1, True), (3, 1, False), (1, 2, False), (1, 1, True)])
def test_words_of_3_training_or_2_test_prompts_are_boilerplate(*, train: int, test: int, leaks: bool) -> None:
    questions = messages(10, seed=1, words=4)
    asked = [[f"{LONG} {question}" for question in part] for part in (questions[:train], questions[5 : 5 + test])]
    assert leaked(*asked) == (list(range(train)) if leaks else [])


def passages(*, questions: int) -> list[Record]:
    """SQuAD's kind: a passage of 60 words before each of its questions."""
    texts = messages(100, seed=1, words=60)
    asked = messages(100 * questions, seed=2, words=8)
    return prompts([f"{texts[place // questions]}\n\n{question}" for place, question in enumerate(asked)])


@pytest.mark.parametrize("questions", [4, 5, 10])
def test_a_hold_out_of_passages_with_several_questions_drops_few(questions: int) -> None:
    rest, test = hold_out(passages(questions=questions), seed=0, salt="test")
    assert len(find_leaks(rest, test)) <= 0.02 * len(rest)


def test_a_hold_out_of_prompts_with_a_template_drops_none() -> None:
    rest, test = hold_out(
        prompts([TEMPLATES["Alpaca"].format(text) for text in messages(400, seed=1)]), seed=0, salt="test"
    )
    assert find_leaks(rest, test) == {}


@pytest.mark.parametrize(("train", "test"), [([], []), ([], ["a"]), (["a"], []), (["a"], [LONG]), ([LONG], ["a"])])
def test_nothing_leaks_where_nothing_is(train: list[str], test: list[str]) -> None:
    assert leaked(train, test) == []


def long_prompts(count: int, *, split: str, words: int = 200) -> list[Record]:
    draw = random.Random(split)
    vocabulary = [f"word{number}" for number in range(30_000)]
    return prompts([" ".join(draw.choices(vocabulary, k=words)) for _ in range(count)], split)


def test_time_is_linear() -> None:
    """50,000 prompts of 200 words take 8 s of one core on an idle machine; here are a tenth of them."""
    test = long_prompts(500, split="test")
    seconds = []
    for count in (1_250, 5_000):
        train = long_prompts(count, split="train")
        before = time.process_time()
        assert find_leaks(train, test) == {}
        seconds.append(time.process_time() - before)
    assert seconds[1] < 8 * seconds[0], "four times the prompts, and never sixteen times the time"


def test_memory_does_not_grow_with_the_training_prompts_that_share_nothing() -> None:
    test, peaks = long_prompts(100, split="test", words=30), []
    for count in (2_500, 10_000):
        train = long_prompts(count, split="train", words=30)
        tracemalloc.start()
        find_leaks(train, test)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def read_example(name: str, split: Split) -> list[Record]:
    path = QUICKSTART.parent / name / "data" / f"{split}.jsonl"
    return read_records(path, split=split, task=Task(type="Conversation"), answers="Teacher").records


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize(
    ("example", "known"),
    [
        ("quickstart", {}),
        ("conversation", {}),
        ("qa", {"train": 1}),
        ("nli", {"train": 5}),
        ("math", {"train": 2, "validation": 1}),
        ("summarization", {"train": 4, "validation": 3}),
    ],
)
def test_the_examples_leak_no_more_into_their_test_than_is_known(
    example: str, known: dict[Split, int], split: Split
) -> None:
    """The small ones are made of few phrases, some of which make up 13 words."""
    train = read_example(example, split)
    assert len(train) > 10
    assert len(find_leaks(train, read_example(example, "test"))) == known.get(split, 0)
