"""A remote teacher: a model that somebody else serves, reached over HTTP."""

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubedistill.canonical import digest
from kubedistill.contract import StageJob, key_variable
from kubedistill.contract.artifacts import EndpointFigures
from kubedistill.errors import BadCredentials
from kubedistill.json_values import JsonObject
from kubedistill.v1alpha1 import Endpoint, EndpointApi
from kubedistill_runtime.answers import TurnUsage
from kubedistill_runtime.endpoints.endpoint import Endpoint as Connection
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.requests import (
    GenerationResult,
    Pending,
    Report,
    Request,
    answer_in_turn,
    find_missing,
    plan_rows,
)

if TYPE_CHECKING:
    from kubedistill_runtime.teachers.tokens import TokenReader

VENDOR_VARIABLES: dict[EndpointApi, str] = {
    "OpenAI": "OPENAI_API_KEY",
    "AzureOpenAI": "AZURE_OPENAI_API_KEY",
    "Anthropic": "ANTHROPIC_API_KEY",
}
"""The variables of the vendors' own clients."""
NO_KEY = "none"
"""What a server that wants no key gets, since the clients send one always."""
_SCHEMA = 1  # raise it if answers to the same row change


@dataclass(frozen=True, slots=True)
class RemoteTeacher:
    """A teacher at an endpoint; it gives text, and ids and distributions only if its tokenizer is named."""

    at: str
    """Field of the manifest that names it."""
    name: str
    endpoint: Endpoint
    tokenizer: Model | None
    """Files of the tokenizer that the manifest names, without weights."""
    date: datetime.date
    """The date of the job, for a chat template that asks for it."""

    @property
    def source(self) -> str:
        """The name of its model, and its API."""
        return self.endpoint.source

    @property
    def digest(self) -> str:
        """The digest of what identifies it; the endpoint may change the weights behind a name."""
        return digest(self.values())

    @property
    def model(self) -> Model | None:
        """None: no checkpoint on this machine."""
        return None

    @property
    def max_model_len(self) -> int | None:
        """None: the endpoint refuses longer prompts itself."""
        return None

    def values(self) -> JsonObject:
        """Return what determines its answers: not the URL, which a gateway may change, and not the key."""
        values: JsonObject = {"api": self.endpoint.api, "model": self.endpoint.model}
        return values if self.tokenizer is None else {**values, "tokenizer": self.tokenizer.digest}

    def answer(
        self, requests: Mapping[str, Request], *, job: StageJob, engines: Engines, store: Store, progress: Progress
    ) -> GenerationResult[EndpointFigures]:
        """Answer requests over HTTP; raises BadCredentials if there is no key."""
        # The vendors' clients are imported only by the stage that sends requests.
        from kubedistill_runtime.teachers.endpoint_batches import EndpointGenerator, answer_rows

        del job, engines
        pending = plan_rows(requests, key_of=self._model_key, store=store)
        generated = len(find_missing(pending))
        connection, key = self._connection(), self._find_key()
        k = max(request.sampling.k for request in requests.values())
        reader = self._open_reader(k=k) if generated else None

        def charge(usage: TurnUsage) -> None:
            if (prices := self.endpoint.prices) is not None:
                tokens = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
                progress.charge(prices.dollars(**tokens))

        def answer(request: Request, part: Pending, report: Report) -> int:
            generator = EndpointGenerator(connection, key, request.sampling, request.seed, reader)
            usage = answer_rows(part.rows, cache=part.cache, generator=generator, report=report, charge=charge)
            return usage.completion_tokens

        tokens = answer_in_turn(requests, pending, answer=answer, progress=progress)
        judged = [part for name, part in pending.items() if name != "train"]
        return GenerationResult(pending, self._figures(judged), tokens, generated)

    def _model_key(self, request: Request) -> str:
        """Return the key of the model with a sampling; URL, limits and API key do not matter."""
        sampling = request.sampling
        return digest(
            {
                "schema": _SCHEMA,
                **self.values(),
                **({"topLogprobs": sampling.k} if sampling.k else {}),
                "sampling": [sampling.temperature, sampling.top_p, sampling.max_tokens],
                "seed": request.seed if sampling.temperature > 0 else None,
                **sampling.extra_values(),
            }
        )

    def _open_reader(self, *, k: int) -> "TokenReader | None":
        """Return the reader of tokens; None if only text is used. Raises the errors of load_chat_format."""
        from kubedistill_runtime.chat import load_chat_format
        from kubedistill_runtime.teachers.tokens import make_reader

        if self.tokenizer is None or not k:
            return None
        chat = load_chat_format(self.tokenizer, at=f"{self.at}.endpoint.tokenizer", date=self.date)
        return make_reader(self.tokenizer, chat=chat, k=k)

    def _connection(self) -> Connection:
        endpoint = self.endpoint
        return Connection(
            api=endpoint.api,
            model=endpoint.model,
            url=endpoint.address,
            api_version=endpoint.api_version,
            max_in_flight=endpoint.max_in_flight,
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
            at=f"{self.at}.endpoint",
        )

    def _find_key(self) -> str:
        """Return the API key from the environment; raises BadCredentials if the vendor's own address needs one."""
        names = (key_variable(self.name), VENDOR_VARIABLES[self.endpoint.api])
        key = next((value for name in names if (value := os.environ.get(name))), None)
        if key is None and self.endpoint.url is None:
            fix = f"Name a Secret in secretKeyRef or, on one machine, set {names[0]} or {names[1]}"
            raise BadCredentials("no API key is set", at=f"{self.at}.endpoint", fix=fix)
        return key or NO_KEY

    def _figures(self, judged: Sequence[Pending]) -> EndpointFigures:
        from kubedistill_runtime.teachers.usage import read_usage

        usages = [read_usage(part.rows, cache=part.cache) for part in judged]
        models: dict[str, int] = {}
        for usage in usages:
            for (model, fingerprint), count in usage.models.items():
                name = f"{model} {fingerprint}".strip()
                models[name] = models.get(name, 0) + count
        return EndpointFigures(
            endpoint=self.source,
            answers=sum(usage.finishes.total() for usage in usages),
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            completion_tokens=sum(usage.completion_tokens for usage in usages),
            sampled=sum(usage.default_temperature for usage in usages),
            models=models,
        )
