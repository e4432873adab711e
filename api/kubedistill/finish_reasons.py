"""Finish reasons: what the words of servers with OpenAI's API mean about the end of a reply, in lower case."""

from typing import Literal

End = Literal["stop", "length", "refused", "filtered"]

ENDS: dict[str, End] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filtered",
    # TGI, Together and watsonx name the token that ended the reply; gateways pass the words of Anthropic.
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "refusal": "refused",
    "safety": "filtered",  # Google
    "sensitive": "filtered",  # Zhipu
}
"""How a reply ended, by reason."""
FAILURES = ("error", "insufficient_system_resource", "network_error")
"""Reasons of OpenRouter, DeepSeek and Zhipu for a reply that the server could not finish."""
