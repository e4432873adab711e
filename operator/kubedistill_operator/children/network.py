"""The network of containers: the proxies that they use, and the certificate authorities that they trust."""

from kubedistill.manifest.settings import Settings

CA_PATH = "/kubedistill/ca"
CA_FILE = "ca.crt"
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Kubelet expands the variable; KubeRay's probes connect to localhost, and its submitter to the head's Service.
_DIRECT = (
    "localhost", "127.0.0.1", "::1", ".svc", ".cluster.local", "kubernetes.default.svc", "$(KUBERNETES_SERVICE_HOST)",
)  # fmt: skip


def network_variables(settings: Settings) -> dict[str, str]:
    """Return the environment variables that name proxies and certificate authorities to programs and libraries."""
    return {**_proxy_variables(settings), **_trust_variables(settings)}


def _proxy_variables(settings: Settings) -> dict[str, str]:
    proxy = settings.proxy
    urls = {"HTTP_PROXY": proxy.http_proxy, "HTTPS_PROXY": proxy.https_proxy}
    found = {name: url for name, url in urls.items() if url is not None}
    if found:
        found["NO_PROXY"] = ",".join((*_DIRECT, *proxy.no_proxy))
    return found | {name.lower(): value for name, value in found.items()}


def _trust_variables(settings: Settings) -> dict[str, str]:
    return dict.fromkeys(_TRUST, f"{CA_PATH}/{CA_FILE}") if settings.ca_bundle.config_map else {}
