"""Refusals: what an engine that can't serve a model says; which class it is, where, and why."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)
from torch.distributed import DistBackendError

from kubedistill.errors import EngineLost, InvalidInput, InvalidModel, MissingDependency, ModelDoesNotFit
from kubedistill_runtime.chat import load_stop_ids
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.root_cause import describe_cause
from kubedistill_runtime.serving.batch_engine import Advance, BatchEngine
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.serving.refusals import is_lost, refusal
from kubedistill_runtime.serving.replica import Replica
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.serving.vllm_engine import VllmActor
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART
from support.messages import CheckMessage

AT = "spec.teachers[0].model.source"
SERVING = Serving(Model("hf://a/b", Path("b"), "digest", 1000, {}), max_model_len=128, at=AT)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Unsupported CPU attention configuration: head_dim=20"), InvalidModel),
        (ValueError("Model architectures ['Foo'] are not supported for now"), InvalidModel),
        (ValueError("torch.float32 is not supported for quantization method fp8"), InvalidModel),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), ModelDoesNotFit),
        (MemoryError(), ModelDoesNotFit),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), ModelDoesNotFit),
        (ValueError("No available memory for the cache blocks. Try increasing it"), ModelDoesNotFit),
        (ValueError("Free memory on device cuda:0 (3/79 GiB) on startup is less than desired"), ModelDoesNotFit),
        (ValueError("(2 GiB KV cache is needed, more than the available KV cache memory)"), ModelDoesNotFit),
    ],
    ids=lambda one: str(one)[:24] if isinstance(one, Exception) else one.__name__,
)  # fmt: skip
def test_memory_that_ran_out_is_told_from_what_is_not_supported(error: Exception, kind: type[InvalidInput]) -> None:
    found = refusal(error, serving=SERVING)
    assert type(found) is kind
    assert found.at == AT
    assert "hf://a/b" in found.problem
    assert str(error) in found.problem
    assert found.fix


def dead_actor() -> Exception:
    """Return what an engine meets whose worker on another GPU died."""
    return RayActorError(actor_id="a1", error_msg="The actor died unexpectedly before finishing this task.")


def raised_from(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


class AcceleratorError(RuntimeError):
    """PyTorch's error of a device, where the build has it."""


LOST = [
    pytest.param(dead_actor(), id="a worker"),
    pytest.param(raised_from(RuntimeError("the engine core failed"), dead_actor()), id="a worker, wrapped"),
    pytest.param(WorkerCrashedError(), id="a worker's process"),
    pytest.param(NodeDiedError("the node died"), id="a node"),
    pytest.param(RuntimeError("NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)"), id="NCCL"),
    pytest.param(
        DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:94, remote process exited"), id="torch.distributed"
    ),
    pytest.param(RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with"), id="CUDA"),
    pytest.param(AcceleratorError("unspecified launch failure"), id="a device by its class"),
    pytest.param(RuntimeError("CUDA error: uncorrectable ECC error encountered"), id="ECC"),
    pytest.param(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), id="cuDNN"),
    pytest.param(RuntimeError("Worker failed with error 'CUDA error: unspecified launch failure'"), id="quoted"),
]


@pytest.mark.parametrize("error", LOST)
def test_what_died_while_the_engine_loaded_is_lost_and_no_fault_of_the_model(error: Exception) -> None:
    found = refusal(error, serving=SERVING)
    assert (type(found), found.cause, found.at) == (EngineLost, "infrastructure", AT)
    assert describe_cause(error) in found.problem
    assert "hf://a/b" in found.problem


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(RuntimeError("CUDA error: out of memory"), ModelDoesNotFit, id="CUDA's memory"),
        pytest.param(AcceleratorError("CUDA error: out of memory"), ModelDoesNotFit, id="memory by another class"),
        pytest.param(OutOfMemoryError("the node ran low on memory"), ModelDoesNotFit, id="a node's memory"),
        pytest.param(InvalidModel("no loader, says a CUDA error"), InvalidModel, id="decided before"),
        pytest.param(ValueError("no kernel for CUDA arch sm_70"), InvalidModel, id="a word alone"),
        pytest.param(KeyError("lm_head.bias"), InvalidModel, id="a bare key"),
    ],
)
def test_what_only_sounds_like_a_lost_device_is_not_lost(error: Exception, kind: type[InvalidInput]) -> None:
    assert not is_lost(error)
    assert type(refusal(error, serving=SERVING)) is kind


@pytest.mark.parametrize("error", LOST)
def test_weights_that_a_lost_engine_did_not_take_are_no_fault_of_the_model(error: Exception) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    actor = VllmActor.__new__(VllmActor)
    actor._running = cast(BatchEngine, SimpleNamespace(load_weights=fail))
    with pytest.raises(type(error)):
        actor.load_weights("folder")


def test_weights_that_a_living_engine_does_not_take_are(check_message: CheckMessage) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise KeyError("lm_head.bias")

    actor = VllmActor.__new__(VllmActor)
    actor._running = cast(BatchEngine, SimpleNamespace(load_weights=fail))
    with pytest.raises(InvalidModel) as refused:
        actor.load_weights("folder")
    check_message(refused.value, "lm_head.bias")


@pytest.mark.parametrize("method", ["generate", "load_weights", "hardware"])
@pytest.mark.parametrize(
    "error",
    [
        dead_actor(),
        OutOfMemoryError("the node ran low on memory"),
        RayTaskError("open", "ray::VllmActor", dead_actor(), "ray::VllmActor", 1, "127.0.0.1"),
        RayTaskError("open", "ray::VllmActor", EngineLost("died", at=AT), "ray::VllmActor", 1, "127.0.0.1"),
        RayTaskError("open", "ray::VllmActor", RuntimeError("NCCL error: x"), "ray::VllmActor", 1, "127.0.0.1"),
    ],
    ids=["the actor", "killed for memory", "a worker", "while loading", "NCCL"],
)
def test_an_actor_that_is_lost_is_ended_and_another_is_started(
    error: Exception, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deaths = 2 if method == "generate" else 1  # an engine that does not start is started once more
    engines, ended, started = faked_session(monkeypatch, tmp_path, answers=[error] * deaths)
    with pytest.raises(EngineLost) as caught:
        call(engines, method)
    assert caught.value.cause == "infrastructure"
    assert ended == started
    call(engines, method)
    assert len(started) == deaths + 1


@pytest.mark.parametrize("method", ["generate", "load_weights", "hardware"])
@pytest.mark.parametrize(
    "cause", [InvalidModel("no", at=AT), ModelDoesNotFit("no", at=AT), ZeroDivisionError("a bug")], ids=repr
)
def test_an_actor_that_refuses_lives_on(
    cause: Exception, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    error = RayTaskError("open", "ray::VllmActor", cause, "ray::VllmActor", 1, "127.0.0.1")
    engines, ended, started = faked_session(monkeypatch, tmp_path, answers=[error.as_instanceof_cause()])
    with pytest.raises(type(cause)):
        call(engines, method)
    call(engines, method)
    assert (len(started), ended) == (1, [])


def call(engines: LocalEngines, method: str) -> None:
    if method == "hardware":
        engines.hardware(gpus=1)
        return
    engine = engines.open(SERVING).__enter__()
    if method == "generate":
        engine.generate([[1]], sampling=Sampling(max_tokens=1), seeds=[0])
    else:
        engine.load_weights(SERVING.model)


def faked_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, answers: list[Exception]
) -> tuple[LocalEngines, list[object], list[object]]:
    """Return a session whose Ray raises these errors first.

    Returns it, the actors that it ended and those that it started.
    """
    ended: list[object] = []
    started: list[object] = []
    method = SimpleNamespace(remote=lambda *arguments, **options: Advance(0, 0, 0, []))

    def get(answer: object) -> object:
        if answers:
            raise answers.pop(0)
        return answer

    def start(self: Replica, *, gpus: int) -> object:
        started.append(SimpleNamespace(open=method, generate=method, load_weights=method, hardware=method))
        return started[-1]

    monkeypatch.setattr("ray.get", get)
    monkeypatch.setattr("ray.kill", ended.append)
    monkeypatch.setattr(LocalEngines, "_start_ray", lambda self: None)
    monkeypatch.setattr(Replica, "_start", start)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head")
    return LocalEngines(leftovers=tmp_path / "none", ahead=False), ended, started


@pytest.mark.parametrize("method", ["generate", "load_weights", "hardware"])
def test_an_environment_that_lacks_a_library_is_not_taken_for_a_lost_engine(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = "libgomp.so.1: cannot open shared object file: No such file or directory"
    text = f"ray::VllmActor.__init__()\nTraceback (most recent call last):\n  File\nOSError: {library}"
    died = ActorDiedError(RayTaskError("__init__", text, OSError(library), "ray::VllmActor", 1, "127.0.0.1"))
    engines, _, _ = faked_session(monkeypatch, tmp_path, answers=[died])
    with pytest.raises(MissingDependency) as caught:
        call(engines, method)
    assert caught.value.problem == f"OSError: {library}"


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def change_architecture(folder: Path) -> None:
    change_config(folder, architectures=["NoSuchForCausalLM"])


def change_quantization(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "awq"})


@pytest.mark.engine
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(change_architecture, "architectures ['NoSuchForCausalLM'] are not supported", id="architecture"),
        pytest.param(change_quantization, "Cannot find any of ['w_bit', 'bits']", id="quantization"),
    ],
)  # fmt: skip
def test_a_real_engine_says_why_it_refuses(change: Any, reason: str, engines: LocalEngines, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(QUICKSTART / "student", folder)
    change(folder)
    with engines.open(serving_of(folder, tmp_path)) as engine, pytest.raises(InvalidModel) as caught:
        engine.generate([[1, 2, 3]], sampling=Sampling(max_tokens=1), seeds=[0])
    assert caught.value.at == AT
    assert reason in caught.value.problem
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def serving_of(folder: Path, store: Path) -> Serving:
    model = find_model(str(folder), trust_remote_code=False, data_root=folder, store=Store(store), at=AT)
    return Serving(model, max_model_len=128, stop_ids=load_stop_ids(model), at=AT)
