"""Tenants: accounts with exactly the rights that a test names, and the question what an account may do."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from support.kube_api import Api, Manifest, wait_for

RBAC = "rbac.authorization.k8s.io"
JOB_RIGHTS = {"distillationjobs.kubedistill.io": "create get patch"}
Tenants = Callable[[dict[str, str]], Api]


def account(name: str, rights: dict[str, str], *, namespace: str) -> Iterator[Manifest]:
    """Yield a ServiceAccount with these rights."""
    rules = [
        {"apiGroups": [resource.partition(".")[2]], "resources": [resource.partition(".")[0]], "verbs": verbs.split()}
        for resource, verbs in rights.items()
    ]
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    yield {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    yield {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }


def spelled(rights: dict[str, str]) -> list[tuple[str, str]]:
    return [(verb, resource) for resource, verbs in rights.items() for verb in verbs.split()]


def may(client: Api, right: tuple[str, str], namespace: str) -> bool:
    """Return whether an account may do that."""
    verb, resource = right
    plain, _, subresource = resource.partition("/")
    name, _, group = plain.partition(".")
    asked = {"verb": verb, "resource": name, "group": group, "subresource": subresource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    answer = client.request("post", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])


@contextmanager
def open_tenants(api: Api, namespace: str, account_kubeconfig: Callable[..., Path]) -> Iterator[Tenants]:
    """Yield a function that gives a client with exactly these rights in a namespace, as {resource.group: verbs}."""
    with ExitStack() as clients:

        @cache
        def make(rights: tuple[tuple[str, str], ...]) -> Api:
            name = f"tenant-{secrets.token_hex(4)}"
            for manifest in account(name, dict(rights), namespace=namespace):
                api.create(manifest, namespace=namespace)
            client = clients.enter_context(Api(account_kubeconfig(name, namespace=namespace)))
            wait_for(
                lambda: all(may(client, one, namespace) for one in spelled(dict(rights))), what="its role is noticed"
            )
            return client

        yield lambda rights: make(tuple(rights.items()))
