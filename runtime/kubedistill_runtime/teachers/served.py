"""A served teacher: a checkpoint that the job itself runs on vLLM."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from kubedistill.contract import Hardware, StageJob
from kubedistill.contract.artifacts import ServingFigures
from kubedistill.json_values import JsonObject
from kubedistill.v1alpha1 import TeacherModel
from kubedistill_runtime.chat.template import date_for, load_stop_ids
from kubedistill_runtime.fit.serving import Precision
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Constraint, Engines, Serving
from kubedistill_runtime.serving.figures import Machine
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.requests import GenerationResult, Request

# Settings that affect speed, not results. Whether a checkpoint's code may run is part of the model's digest.
_PLACEMENT = frozenset(
    {
        "source", "revision", "tensor_parallel_size", "pipeline_parallel_size", "expert_parallel",
        "gpu_memory_utilization", "engine_args", "trust_remote_code",
    }
)  # fmt: skip

_LANES = 8
"""Shards in flight on GPUs, more rows than an engine runs at once, so that the end of one leaves none of them idle."""


@dataclass(frozen=True, slots=True)
class ServedTeacher:
    """A teacher whose weights this job loads."""

    at: str
    """Field of the manifest that names it."""
    name: str
    spec: TeacherModel
    model: Model
    dtype: str
    max_model_len: int
    date: datetime.date
    """The date of the job, for a chat template that asks for it."""
    hardware: Hardware
    """Where it is served."""
    replicas: int
    """Copies that share the prompts in a cluster."""

    @property
    def source(self) -> str:
        """The location of its weights."""
        return self.model.source

    @property
    def digest(self) -> str:
        """The digest of its files."""
        return self.model.digest

    @property
    def tokenizer(self) -> Model:
        """The files of its checkpoint."""
        return self.model

    @property
    def precision(self) -> Precision:
        """The precision of its weights and of its cache."""
        return Precision(self.dtype, self.spec.kv_cache_dtype, self.spec.quantization)

    def values(self) -> JsonObject:
        """Return what determines its answers."""
        date = date_for(self.model, self.date)
        settings = self.spec.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude_none=True, exclude=set(_PLACEMENT)
        )
        return {
            **settings,
            "digest": self.model.digest,
            "dtype": self.dtype,
            "maxModelLen": self.max_model_len,
            "date": date.isoformat() if date else None,
        }

    def serving(self, *, k: int, constraint: Constraint | None = None) -> Serving:
        """Return the settings of its engine, with `k` alternatives per token."""
        return Serving(
            model=self.model,
            max_model_len=self.max_model_len,
            dtype=self.dtype,
            k=k,
            stop_ids=load_stop_ids(self.model),
            quantization=self.spec.quantization,
            constraint=constraint,
            date=date_for(self.model, self.date),
            tensor_parallel_size=self.spec.tensor_parallel_size,
            pipeline_parallel_size=self.spec.pipeline_parallel_size,
            expert_parallel=self.spec.expert_parallel,
            kv_cache_dtype=self.spec.kv_cache_dtype,
            gpu_memory_utilization=self.spec.gpu_memory_utilization,
            engine_arguments=self.spec.engine_arguments,
            hardware=self.hardware,
            replicas=self.replicas,
            lanes=_LANES if self.hardware.has_gpus else 1,
            at=f"{self.at}.model.source",
        )

    def answer(
        self, requests: Mapping[str, Request], *, job: StageJob, engines: Engines, store: Store, progress: Progress
    ) -> GenerationResult[ServingFigures]:
        """Answer requests in one engine, which starts only if something is missing, and measure it while it is warm."""
        from kubedistill_runtime.teachers.generate import generate_answers

        constraint = next((request.sampling.constraint for request in requests.values()), None)
        serving = self.serving(k=max(request.sampling.k for request in requests.values()), constraint=constraint)
        return generate_answers(
            requests,
            serving=serving,
            at=serving.at,
            open_engine=engines.open,
            store=store,
            progress=progress,
            machine=Machine(engines.hardware(gpus=serving.gpus), job.pools.teacher),
        )
