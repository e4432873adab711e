"""Tenants: accounts with exactly the rights that a test names, and the question what an account may do."""

from collections.abc import Iterator

from support.kube_api import Api, Manifest

RBAC = "rbac.authorization.k8s.io"


def account(name: str, rights: dict[str, str], *, namespace: str) -> Iterator[Manifest]:
    """A ServiceAccount with these rights."""
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
    """Whether an account may do that."""
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
