"""Base URLs of endpoints, which have none of the parts that the vendors' clients add to it."""

from collections.abc import Mapping

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Endpoint, EndpointApi

_ADDED: Mapping[EndpointApi, tuple[str, ...]] = {
    "OpenAI": ("/chat/completions", "/completions", "/responses"),
    "AzureOpenAI": ("/chat/completions", "/openai", "/openai/v1"),
    "Anthropic": ("/v1/messages", "/messages", "/v1"),
}
"""Ends of a path that no base URL has."""


def check_base_url(endpoint: Endpoint, *, at: str) -> None:
    """Refuse a URL with a part that the client adds: each request would end in 404; raises InvalidManifest."""
    address = (endpoint.url or "").rstrip("/")
    path = "".join(address.partition("://")[2].partition("/")[1:])  # a host may be named completions
    added = next((end for end in _ADDED[endpoint.api] if path.endswith(end)), None)
    if added is not None:
        problem = f"it ends with {added}, which the client of {endpoint.api} adds itself"
        raise InvalidManifest(problem, at=at, fix=f"Write {address.removesuffix(added)}")
    if endpoint.api == "AzureOpenAI" and "/openai/deployments/" in path:
        problem = "it names a deployment, which the client of AzureOpenAI adds itself"
        fix = f"Write {address.partition('/openai/deployments/')[0]}, and the deployment as model"
        raise InvalidManifest(problem, at=at, fix=fix)
