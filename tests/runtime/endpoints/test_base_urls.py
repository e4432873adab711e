"""Which base URLs of endpoints are refused, because the client adds a part of them itself."""

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Endpoint, EndpointApi
from kubedistill_runtime.endpoints.base_urls import check_base_url
from support.job_folder import JobFolder

AT = "spec.teachers[0].endpoint.url"


def endpoint_of(api: EndpointApi, url: str) -> Endpoint:
    version = {"apiVersion": "2024-10-21"} if api == "AzureOpenAI" else {}
    return Endpoint.model_validate({"api": api, "model": "large", "url": url, **version})


@pytest.mark.parametrize(
    ("api", "url", "base"),
    [
        ("OpenAI", "https://gateway/v1/chat/completions", "https://gateway/v1"),
        ("OpenAI", "https://gateway/v1/responses/", "https://gateway/v1"),
        ("Anthropic", "https://gateway/v1", "https://gateway"),
        ("Anthropic", "https://gateway/v1/messages", "https://gateway"),
        ("AzureOpenAI", "https://a.openai.azure.com/openai/v1/", "https://a.openai.azure.com"),
        ("AzureOpenAI", "https://a.openai.azure.com/openai/deployments/b", "https://a.openai.azure.com"),
    ],
)
def test_a_part_that_the_client_adds_is_refused_with_the_base_url(api: EndpointApi, url: str, base: str) -> None:
    with pytest.raises(InvalidManifest) as refused:
        check_base_url(endpoint_of(api, url), at=AT)
    assert refused.value.at == AT
    assert refused.value.fix.partition(",")[0] == f"Write {base}"
    check_base_url(endpoint_of(api, base), at=AT)


@pytest.mark.parametrize(
    ("api", "url"),
    [
        ("OpenAI", "https://gateway/openai/v1"),
        ("OpenAI", "https://gateway"),
        ("OpenAI", "http://completions"),
        ("AzureOpenAI", "https://openai/"),
        ("Anthropic", "https://gateway/anthropic"),
    ],
)
def test_other_paths_are_those_of_a_gateway(api: EndpointApi, url: str) -> None:
    check_base_url(endpoint_of(api, url), at=AT)


def test_the_vendors_own_address_has_no_such_part() -> None:
    check_base_url(Endpoint(model="large"), at=AT)


def test_validation_finds_it(job_folder: JobFolder) -> None:
    job_folder.spec["teachers"] = [{"name": "a", "endpoint": {"model": "b", "url": "http://c/v1/chat/completions"}}]
    with pytest.raises(InvalidManifest) as refused:
        job_folder.resolve()
    assert refused.value.at == AT
