"""Access: the objects that allow a driver to write its own channel, and nothing else."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Pods
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.names import job_labels
from kubedistill_operator.plan import Manifest


def check_service_account(pods: Pods, *, may_create: bool) -> None:
    """Raise InvalidManifest if a job names no ServiceAccount, and the operator may create none."""
    if pods.service_account_name is None and not may_create:
        problem = "the operator may not create a ServiceAccount in this cluster"
        raise InvalidManifest(problem, at="spec.pods.serviceAccountName", fix="Name one in the job's namespace")


def service_account(request: ChildRequest) -> Manifest | None:
    """Return the ServiceAccount of a job that names none; it serves all attempts, so its labels name none."""
    if request.spec.pods.service_account_name is not None:
        return None
    job = request.stage_job.job
    metadata = request.metadata(request.service_account, labels=job_labels(job.name, uid=job.uid))
    return {
        **KINDS["ServiceAccount"].header,
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def role(request: ChildRequest) -> Manifest:
    """Return the Role to read and patch the attempt's channel; it is deleted with the child, so no driver keeps it."""
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [request.channel],
        "verbs": ["get", "patch"],
    }
    return {
        **KINDS["Role"].header,
        "metadata": request.metadata(request.name, owner=request.child),
        "rules": [rule],
    }


def role_binding(request: ChildRequest) -> Manifest:
    """Return the RoleBinding of the driver's account; it is deleted with the child too."""
    return {
        **KINDS["RoleBinding"].header,
        "metadata": request.metadata(request.name, owner=request.child),
        "roleRef": {"apiGroup": KINDS["Role"].group, "kind": "Role", "name": request.name},
        "subjects": [{"kind": "ServiceAccount", "name": request.service_account, "namespace": request.namespace}],
    }
