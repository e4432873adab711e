"""vLLM's own checks of an engine's arguments, before any GPU is held: a process with declared GPUs runs them.

vLLM's import takes 7 to 50 s, so the process is started first, and its replies are read last.
"""

import contextlib
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from kubedistill.contract import Hardware
from kubedistill.errors import InvalidManifest, InvalidModel, KubedistillError
from kubedistill_runtime.serving.arguments import engine_arguments
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.serving.vllm_names import FIELDS

COMMAND = (sys.executable, "-m", "kubedistill_runtime.serving.vllm_check_worker")
_SECONDS = 300.0
"""Limit for all replies; from a cold disk, vLLM's import takes most of a minute."""
_CHARACTERS = 300
_ARGUMENTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_NAMES = {"cache_dtype": "kv_cache_dtype"}
"""Names in vLLM's configuration that are not those of its arguments."""
_WORDS = {
    "max_model_len": r"max[_ ]model[_ ]len",
    "kv_cache_dtype": r"kv[_ ]?cache[_ ]dtype",
    "enable_expert_parallel": r"expert[_ ]parallel",
    "tensor_parallel_size": r"tensor[_ ]parallel",
    "pipeline_parallel_size": r"pipeline[_ ]parallel",
    "dtype": r"torch\.\w+ is not supported|dtype",
    "quantization": r"quantization|config file for",
}
"""What a refusal without the name of an argument says of one, in this order."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)


class VllmCheck(_Line):
    """One question to the process."""

    hardware: Hardware
    arguments: dict[str, JsonValue]


class VllmReply(_Line):
    """Its reply; all fields are empty if vLLM accepts the arguments."""

    refusal: str | None = None
    argument: str = ""
    """The argument that is refused, if vLLM names one."""
    failure: str | None = None
    """Why vLLM could not check them."""


class CheckFailed(Exception):
    """vLLM could not check an engine's arguments, and why."""


class VllmWorker:
    """The process that checks; it answers in the order of the questions."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )

    def ask(self, hardware: Hardware, arguments: Mapping[str, JsonValue]) -> None:
        """Send one question, without waiting for its reply."""
        assert self._process.stdin is not None, "the process has pipes"
        with contextlib.suppress(BrokenPipeError):  # then it has ended, which read() reports
            self._process.stdin.write(VllmCheck(hardware=hardware, arguments=dict(arguments)).model_dump_json() + "\n")
            self._process.stdin.flush()

    def read(self) -> VllmReply:
        """Wait for the next reply; raises CheckFailed if the process ended without one."""
        assert self._process.stdout is not None, "the process has pipes"
        line = self._process.stdout.readline()
        if not line:
            raise CheckFailed(f"the process that checks ended with code {self._process.wait()}")
        return VllmReply.model_validate_json(line)

    def kill(self) -> None:
        """End the process at once; whoever waits for a reply sees its end."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and release its pipes."""
        self.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@contextlib.contextmanager
def check_engines(
    servings: Sequence[Serving], *, command: Sequence[str] = COMMAND, seconds: float = _SECONDS
) -> Iterator[Callable[[], list[str]]]:
    """Start vLLM's checks of the engines that run on GPUs, and yield a function that waits for the replies.

    It returns a note for each engine that could not be checked. It raises InvalidManifest or InvalidModel, with the
    field, for the first engine that vLLM refuses.
    """
    on_gpus = [serving for serving in servings if serving.hardware.has_gpus]
    if not on_gpus:
        yield list
        return
    worker = VllmWorker(command)
    try:
        for serving in on_gpus:
            worker.ask(serving.hardware, _ARGUMENTS.validate_python(engine_arguments(serving)))
        yield lambda: _read_replies(worker, on_gpus, seconds=seconds)
    finally:
        worker.close()


def _read_replies(worker: VllmWorker, servings: Sequence[Serving], *, seconds: float) -> list[str]:
    timer = threading.Timer(seconds, worker.kill)
    timer.start()
    notes = []
    try:
        for serving in servings:
            reply = worker.read()
            if reply.refusal is not None:
                raise refusal_error(reply, serving=serving)
            if reply.failure is not None:
                notes.append(_note(serving, reply.failure))
    except CheckFailed as error:
        notes.append(_note(serving, str(error)))
    finally:
        timer.cancel()
    return notes


def refusal_error(reply: VllmReply, *, serving: Serving) -> KubedistillError:
    """Return the error for a refusal: at the field of the argument if the manifest has one, else at the model."""
    assert reply.refusal is not None, "vLLM refused the arguments"
    message = textwrap.shorten(reply.refusal, width=_CHARACTERS, placeholder=" …").rstrip(".")
    name = _named_argument(reply, serving=serving)
    if name is None:
        fix = "Use another checkpoint, dtype or quantization"
        return InvalidModel(f"vLLM refuses {serving.model.source}: {message}", at=serving.at, fix=fix)
    model = serving.at.removesuffix(".source")
    at = f"{model}.engineArgs.{name}" if name in serving.engine_arguments else f"{model}.{FIELDS[name]}"
    return InvalidManifest(f"vLLM refuses it: {message}", at=at, fix="Correct it, or remove it")


def _named_argument(reply: VllmReply, *, serving: Serving) -> str | None:
    """Return the argument that a refusal is about, if it is one of the manifest; a student has none."""
    if not serving.at.startswith("spec.teachers"):
        return None
    argument = _NAMES.get(reply.argument, reply.argument)
    if argument in serving.engine_arguments or argument in FIELDS:
        return argument
    message = str(reply.refusal)
    for name in serving.engine_arguments:
        if re.search(name.replace("_", "[_ ]"), message, re.IGNORECASE):
            return name
    return next((name for name, words in _WORDS.items() if re.search(words, message, re.IGNORECASE)), None)


def _note(serving: Serving, reason: str) -> str:
    return f"{serving.at}: vLLM could not check the engine's arguments before its start: {reason}"
