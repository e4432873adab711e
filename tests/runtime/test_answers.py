"""Answers as bytes: what reading them leaves behind in the process, and what each version can read."""

import io
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from kubedistill_runtime.answers import Answer, Turn, TurnUsage, decode_answers, decode_usages, encode_answers

READING = """
import os
from kubedistill_runtime.answers import Answer, decode_answers, decode_states, encode_answers
data = encode_answers([Answer("row")])
before = len(os.listdir("/proc/self/task"))
assert decode_answers(data) == [Answer("row")]
assert decode_states(data) == {"row": (False, False)}
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_reading_answers_starts_no_thread_that_could_abort_the_process_at_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", READING], capture_output=True, text=True, check=True)
    assert ended.stdout == "0\n"


# Answers of endpoints

USAGE = TurnUsage("teacher-1", "fp_1", 7, 3, 2, "blocked")
OLD = Path(__file__).parent / "golden" / "answers-0.1.parquet"


def test_the_usage_of_a_turn_comes_back() -> None:
    written = [Answer("a", (Turn((), (), "x", "filtered", usage=USAGE), Turn((), (), "y", "stop"))), Answer("b")]
    assert decode_answers(encode_answers(written)) == written
    assert list(decode_usages(encode_answers(written))) == [("a", [("filtered", USAGE)]), ("b", [])]


def test_a_file_that_an_earlier_version_wrote_is_read_and_written_again_as_it_was() -> None:
    data = OLD.read_bytes()
    first, second = decode_answers(data)
    assert [(turn.text, turn.finish, turn.usage) for turn in first.turns] == [
        ("héllo", "stop", None),
        ("cut", "length", None),
    ]
    assert first.turns[0].top is not None
    assert first.turns[0].top.ids_TK.tolist() == [[5, 6], [7, 8]]
    assert second.turns == ()
    assert pq.read_schema(io.BytesIO(encode_answers([first, second]))).equals(pq.read_schema(OLD))
    assert list(decode_usages(data)) == [("row-a", []), ("row-b", [])]
