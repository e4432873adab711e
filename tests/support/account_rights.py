"""What an account may do, as the API server tells it: the same question as `kubectl auth can-i --list`."""

from support.kube_api import Api


def rights(api: Api, namespace: str) -> set[str]:
    """Return all permissions of an account in a namespace as "verb resource.group/subresource [name]"."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status = api.request("post", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body=review)["status"]
    assert not status["incomplete"]
    return {
        f"{verb} {_full_name(resource, group)}{name}"
        for rule in status["resourceRules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
        for name in ([f" {name}" for name in rule.get("resourceNames", ())] or [""])
    }


def _full_name(resource: str, group: str) -> str:
    name, slash, subresource = resource.partition("/")
    return f"{name}.{group}{slash}{subresource}" if group else resource
