"""Parameters: what a request sets, without what a model refuses, which its endpoint says once.

A seed is only a wish at every endpoint, and only vLLM gives ids. Greedy decoding is one at a model that always
samples, and temperature 1 is the default of all APIs. So these are left out where they are refused; any other refused
setting is the user's to change.
"""

import logging
from dataclasses import dataclass, field, replace

from kubedistill.json_values import JsonObject
from kubedistill_runtime.answers import describe_left_out
from kubedistill_runtime.endpoints.endpoint import Reply
from kubedistill_runtime.endpoints.failures import ID_PARAMETERS, RequestFailed

log = logging.getLogger(__name__)
_NEWER = "max_completion_tokens"


@dataclass(slots=True)
class Parameters:
    """What one endpoint has refused so far; all its requests share it."""

    refused: set[str] = field(default_factory=set)
    """Names that are not sent any more."""
    limit_name: str = "max_tokens"
    """Every server knows this name, but OpenAI's reasoning models only the newer one."""

    def arrange(self, values: JsonObject) -> JsonObject:
        """Return the values of a request without refused ones, and its limit by the name that the endpoint knows."""
        return {
            self.limit_name if name == "max_tokens" else name: value
            for name, value in values.items()
            if name not in self.refused
        }

    def learn(self, failure: RequestFailed, *, sent: JsonObject) -> bool:
        """Return whether a request that was sent can be sent again without what made it fail."""
        if failure.setting == "max_tokens" and "max_tokens" in sent and _NEWER in failure.detail:
            self.limit_name = _NEWER
            return True
        name = failure.setting
        if name in ID_PARAMETERS and name in sent:
            self.refused |= set(ID_PARAMETERS)
            return True
        if name not in sent or not (name == "seed" or (name == "temperature" and sent[name] in (0, 1))):
            return False
        if name not in self.refused:
            log.warning("the endpoint refuses %s %s, so it is not sent (%s)", name, sent[name], failure.detail)
            self.refused.add(name)
        return True

    def annotate(self, reply: Reply) -> Reply:
        """Return a reply whose detail says what it was asked for without."""
        left_out = self.refused.difference(ID_PARAMETERS)
        if not left_out or reply.detail:
            return reply
        return replace(reply, detail=describe_left_out(left_out))
