"""Children: the objects of one attempt, in the order of their creation."""

from collections.abc import Mapping

from kubedistill.chain import STAGES
from kubedistill.manifest.settings import Pool, Resources
from kubedistill.placement.layout import check_pools, lay_out
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.children.access import check_service_account, role, role_binding, service_account
from kubedistill_operator.children.batch import build_job
from kubedistill_operator.children.configmaps import channel_config_map, check_size, job_config_map
from kubedistill_operator.children.pod_names import check_names
from kubedistill_operator.children.rayjob import build_rayjob
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.plan import Manifest

__all__ = ["ChildRequest", "build_children", "check_children"]


def check_children(spec: Spec, *, namespace: str, pools: Mapping[str, Pool], create_service_accounts: bool) -> None:
    """Check, before a run starts, everything that would prevent the creation of one of its children.

    Raises InvalidInput (InvalidPool, UnknownPool, PoolNotAllowed, TooFewGPUs, InvalidManifest) with field and fix.
    """
    check_pools(spec, pools)
    for stage in STAGES:
        lay_out(stage, spec, namespace=namespace, pools=pools, resources=Resources())
    check_names(spec.pods)
    check_service_account(spec.pods, may_create=create_service_accounts)
    check_size(spec)


def build_children(request: ChildRequest) -> tuple[Manifest, ...]:
    """Return all objects of an attempt, in an order that a crash may interrupt anywhere.

    The RayJob or Job comes first, since it owns the others; they get its uid when they are created. ConfigMap
    `<child>`, which the driver's pod mounts, comes last: no driver starts before it may write its channel. Raises what
    check_children raises.
    """
    check_children(
        request.spec,
        namespace=request.namespace,
        pools=request.pools,
        create_service_accounts=request.settings.rbac.create_service_accounts,
    )
    layout = lay_out(
        request.stage,
        request.spec,
        namespace=request.namespace,
        pools=request.pools,
        resources=request.settings.cpu_resources,
    )
    account = service_account(request)
    build = build_rayjob if request.kind == "RayJob" else build_job
    return (
        *([account] if account else []),
        build(request, layout),
        role(request),
        role_binding(request),
        channel_config_map(request),
        job_config_map(request),
    )
