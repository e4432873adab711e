"""Teachers: what the other modules know of one, whatever its kind. Each kind is a module here."""

from collections.abc import Mapping
from typing import Protocol

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill.json_values import JsonObject
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.requests import GenerationResult, Request


class Teacher(Protocol):
    """A teacher of a job, with every open choice made."""

    @property
    def name(self) -> str:
        """Its name in the manifest."""
        ...

    @property
    def at(self) -> str:
        """The field of the manifest that names it, for errors."""
        ...

    @property
    def source(self) -> str:
        """The location of its weights, or its name at an endpoint."""
        ...

    @property
    def digest(self) -> str:
        """The digest of its files, or of what identifies it at an endpoint."""
        ...

    @property
    def model(self) -> Model | None:
        """The checkpoint on this machine; None for an endpoint."""
        ...

    @property
    def tokenizer(self) -> Model | None:
        """The files of the tokenizer whose ids its answers have; None if its answers are only text."""
        ...

    @property
    def max_model_len(self) -> int | None:
        """Maximum length of prompt and answer together, in its tokens; None if not known."""
        ...

    def values(self) -> JsonObject:
        """Return what determines its answers, for keys: not where it runs, or how fast."""
        ...

    def answer(
        self, requests: Mapping[str, Request], *, job: StageJob, engines: Engines, store: Store, progress: Progress
    ) -> GenerationResult[ServingFigures | EndpointFigures]:
        """Answer requests, by name, and measure the teacher; answers in the store are reused."""
        ...
