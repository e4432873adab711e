"""Failed requests: what each answer or network error of an endpoint means, and whether to ask again."""

import errno
import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from kubedistill.errors import (
    BadCredentials,
    EndpointUnavailable,
    InvalidInput,
    InvalidModel,
    KubedistillError,
    QuotaExhausted,
)
from kubedistill.json_values import Json, as_object
from kubedistill_runtime.endpoints.endpoint import Finish

Kind = Literal[
    "Credentials", "Quota", "Model", "Address", "Setting",
    "Filtered", "TooLong", "Rejected",
    "RateLimited", "ServerError", "Unusable", "Timeout", "Unreachable", "UnknownHost", "Certificate", "WebPage",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Treatment:
    """What to do after a failure of one kind; exactly one of `error`, `finish` and `retry` applies first."""

    error: type[KubedistillError] | None = None
    """Raise this at once; for a failure that is retried, what is raised when the budget is used up."""
    fix: str = ""
    finish: Finish | None = None
    """Answer the row with this finish; for a failure that is retried, only if the endpoint answers other rows."""
    retry: bool = False


_ANSWERS = "Check the status of the endpoint and its limits; answers that were stored are kept"
_NETWORK = "Check the address, the network and the proxy; answers that were stored are kept"

TREATMENTS: Mapping[Kind, Treatment] = {
    # Nothing would change if the request were sent again, or another one.
    "Credentials": Treatment(BadCredentials, "Put an API key that may use the model into the Secret, then start again"),
    "Quota": Treatment(QuotaExhausted, "Add credit or raise the spending limit, then start again; answers are kept"),
    "Model": Treatment(InvalidModel, "Name a model or deployment that the endpoint has"),
    "Address": Treatment(InvalidInput, "Name the address of the API, without the part that the client adds to it"),
    "Setting": Treatment(InvalidInput, "Change the setting that the endpoint rejects, or name another model"),
    # It concerns this row only.
    "Filtered": Treatment(finish="filtered"),
    "TooLong": Treatment(finish="too_long"),
    "Rejected": Treatment(finish="rejected"),
    # The endpoint may recover. A limit of requests is never the fault of a row.
    "RateLimited": Treatment(EndpointUnavailable, _ANSWERS, retry=True),
    "ServerError": Treatment(EndpointUnavailable, _ANSWERS, finish="failed", retry=True),
    "Unusable": Treatment(EndpointUnavailable, _ANSWERS, finish="failed", retry=True),
    "Timeout": Treatment(EndpointUnavailable, _ANSWERS, finish="failed", retry=True),
    "Unreachable": Treatment(EndpointUnavailable, _NETWORK, retry=True),
    # A wrong address or certificate authority if the endpoint has never answered; otherwise an outage.
    "UnknownHost": Treatment(EndpointUnavailable, _NETWORK, retry=True),
    "Certificate": Treatment(EndpointUnavailable, _NETWORK, retry=True),
    "WebPage": Treatment(EndpointUnavailable, _NETWORK, finish="failed", retry=True),
}

ID_PARAMETERS = ("return_token_ids", "return_tokens_as_token_ids")
"""vLLM's parameters for the ids of tokens, which other servers ignore or refuse."""
_SETTINGS = (
    "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "model", "logprobs", "top_logprobs",
    "response_format",
)  # fmt: skip
_FORM_WORDS = ("response_format", "json schema", "json_schema")
_UNSUPPORTED_WORDS = (
    "not support", "unsupported", "deprecated", "cannot both be specified", "extra_forbidden", "extra inputs",
    "unknown name", "unrecognized",
)  # fmt: skip
_QUOTA_CODES = ("insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active")
_QUOTA_WORDS = "credit balance is too low"
_KEY_WORDS = "api key not valid"
_FILTER_CODES = (
    "content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "data_inspection_failed",
)  # fmt: skip
_FILTER_WORDS = ("content exists risk", "violates usage guidelines", "input was flagged")
"""What DeepSeek, xAI and OpenRouter say of a prompt that a filter stopped, without a code of its own."""
_LENGTH_CODES = ("context_length_exceeded", "string_above_max_length", "request_too_large")
_LENGTH_WORDS = (
    "prompt is too long", "maximum context length", "maximum model length", "max_model_len", "context window",
    "exceed context limit",
)  # fmt: skip
_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403, "not_found_error": 404,
    "request_too_large": 413, "rate_limit_error": 429, "overloaded_error": 529,
}  # fmt: skip
"""The status of an error of a type, as Anthropic and OpenAI name them."""
_NO_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_LONGEST = 300
"""Characters of an endpoint's own words."""


class RequestFailed(Exception):
    """A request that got no reply; `detail` is what the endpoint or the network said, without the API key."""

    def __init__(self, kind: Kind, detail: str, *, retry_after: float | None = None, setting: str = "") -> None:
        super().__init__(kind, detail, retry_after, setting)
        self.kind, self.detail, self.retry_after = kind, detail, retry_after
        self.setting = setting
        """The setting of the request that the endpoint refuses, if it names one."""

    @property
    def treatment(self) -> Treatment:
        """What to do about it."""
        return TREATMENTS[self.kind]


@dataclass(frozen=True, slots=True)
class Problem:
    """The body of an error, in the few words that the APIs have in common."""

    message: str
    codes: tuple[str, ...] = ()
    """Its code and its type, and those of the inner error."""
    param: str = ""


def read_problem(body: bytes) -> Problem:
    """Return the problem that the body of an error states, whatever its form."""
    text = body.decode(errors="replace")
    try:
        whole: Json = json.loads(text)
    except (ValueError, RecursionError):
        return Problem(text)
    if isinstance(whole, list) and whole:  # Google's errors are lists of one
        whole = whole[0]
    error = as_object(whole).get("error", whole)
    return _read_error(error, text=text) if isinstance(error, Mapping) else Problem(str(error))


def find_reported(body: bytes) -> tuple[int, Problem] | None:
    """Return the status and the problem of an error in a successful response; None if there is none.

    Gateways such as OpenRouter answer before the vendor of a model does, so its status is the code of the error.
    """
    if b'"error"' not in body:
        return None
    try:
        whole = as_object(json.loads(body))
    except (ValueError, RecursionError):
        return None
    choices = whole.get("choices")
    first = as_object(choices[0]) if isinstance(choices, list) and choices else {}
    error = first.get("error") if first or whole.get("content") else whole.get("error")
    if not error:
        return None
    problem = _read_error(error, text=str(error)) if isinstance(error, Mapping) else Problem(str(error))
    return _find_status(problem.codes), problem


def _find_status(codes: tuple[str, ...]) -> int:
    """Return the status that codes stand for; 500, which may pass, if they stand for none."""
    numbers = (int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3)
    number = next((number for number in numbers if 400 <= number < 600), None)
    return number or next((_STATUSES[code] for code in codes if code in _STATUSES), 500)


def _read_error(error: Mapping[str, Json], *, text: str) -> Problem:
    inner = as_object(error.get("innererror"))
    filtered = _filtered_categories(inner.get("content_filter_result"))
    message = str(error.get("message") or error.get("detail") or text)
    return Problem(
        f"{message} ({', '.join(filtered)})" if filtered else message,
        tuple(str(code) for code in (error.get("code"), error.get("type"), inner.get("code")) if code is not None),
        str(error.get("param") or ""),
    )


def _filtered_categories(results: Json) -> tuple[str, ...]:
    """Return the categories of Azure's content filter that stopped a prompt."""
    return tuple(name for name, one in as_object(results).items() if as_object(one).get("filtered"))


def classify_status(status: int, problem: Problem) -> Kind:
    """Return the kind of failure that a status and a problem mean."""
    words = problem.message.lower()
    return next((kind for kind, applies in _RULES if applies(status, problem, words)), "Rejected")


def find_setting(status: int, problem: Problem) -> str:
    """Return the setting that a problem says is not supported, by its param or its words; empty if it names none."""
    words = problem.message.lower()
    if _refuses_logprobs(status, words):
        return "logprobs"
    if _refuses_form(status, words):
        return "response_format"
    if status not in (400, 422):
        return ""
    if problem.param in (*_SETTINGS, *ID_PARAMETERS):
        return problem.param
    if (name := next((name for name in ID_PARAMETERS if name in words), None)) is not None:
        return name
    unsupported = any(one in words for one in _UNSUPPORTED_WORDS)
    quoted = (name for name in _SETTINGS if any(f"{mark}{name}{mark}" in words for mark in "'\"`"))
    return next(quoted, "") if unsupported else ""


def _refuses_logprobs(status: int, words: str) -> bool:
    """Return whether a model gives no log-probabilities; OpenAI's status for that may be 403."""
    return status in (400, 403, 422) and "logprobs" in words and not any(name in words for name in ID_PARAMETERS)


def _refuses_form(status: int, words: str) -> bool:
    """Return whether an endpoint takes no form of answers, or not this one."""
    return status in (400, 422) and any(one in words for one in _FORM_WORDS)


def _has(problem: Problem, codes: tuple[str, ...]) -> bool:
    return any(code in codes for code in problem.codes)


_RULES: tuple[tuple[Kind, Callable[[int, Problem, str], bool]], ...] = (
    # The first that applies counts. The words are those of the message, in lower case.
    # xAI's and OpenRouter's status for this is 403, which otherwise ends the job.
    ("Filtered", lambda status, problem, words: status < 500 and status != 401 and _is_filtered(problem, words)),
    ("Setting", lambda status, _, words: _refuses_logprobs(status, words)),
    # Google's status for a wrong key is 400.
    ("Credentials", lambda status, _, words: status in (401, 403) or (status == 400 and _KEY_WORDS in words)),
    # OpenAI's status for this is 429 and Anthropic's 400, so it comes before both.
    ("Quota", lambda status, problem, words: status == 402 or _has(problem, _QUOTA_CODES) or _QUOTA_WORDS in words),
    ("Model", lambda status, _, words: status == 404 and ("model" in words or "deployment" in words)),
    ("Unreachable", lambda status, *_: status == 407),  # it is the proxy's
    ("Address", lambda status, *_: status < 400 or status in (404, 405)),
    ("RateLimited", lambda status, *_: status == 429),
    ("ServerError", lambda status, *_: status in (408, 409, 425) or status >= 500),
    # Before the settings: vLLM names max_tokens where prompt and reply are too long together.
    ("TooLong", lambda status, problem, words: status == 413 or _has(problem, _LENGTH_CODES) or _is_long(words)),
    ("Setting", lambda status, problem, words: problem.param in _SETTINGS or _refuses_form(status, words)),
)


def _is_filtered(problem: Problem, words: str) -> bool:
    return _has(problem, _FILTER_CODES) or any(one in words for one in _FILTER_WORDS)


def _is_long(words: str) -> bool:
    return any(one in words for one in _LENGTH_WORDS)


def classify_network(error: BaseException) -> Kind:
    """Return the kind of failure that an error of the network means."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "Certificate"
        if isinstance(one, socket.gaierror) and one.errno in _NO_HOST:
            return "UnknownHost"
        if isinstance(one, TimeoutError) or (isinstance(one, OSError) and one.errno == errno.ETIMEDOUT):
            return "Timeout"
    return "Unreachable"


def describe_network(error: BaseException) -> str:
    """Return the words of the innermost error of the network; its requests, with their headers, are left out."""
    innermost = list(_chain(error))[-1]
    return f"{type(innermost).__name__}: {innermost}".rstrip(": ")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def shorten(text: str, *, key: str) -> str:
    """Return an endpoint's words on one short line, without the API key, which some endpoints repeat."""
    line = " ".join((text.replace(key, "***") if key else text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
