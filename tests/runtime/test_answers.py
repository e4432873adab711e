"""Answers as bytes: what reading them leaves behind in the process."""

import subprocess
import sys

READING = """
import os
from kubedistill_runtime.answers import Answer, decode_answers, decode_row_keys, encode_answers
data = encode_answers([Answer("row")])
before = len(os.listdir("/proc/self/task"))
assert decode_answers(data) == [Answer("row")]
assert decode_row_keys(data) == ["row"]
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_reading_answers_starts_no_thread_that_could_abort_the_process_at_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", READING], capture_output=True, text=True, check=True)
    assert ended.stdout == "0\n"
