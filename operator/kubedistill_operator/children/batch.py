"""The Job of a stage that needs no GPU."""

from kubedistill.contract import CHANNEL_VARIABLE
from kubedistill.placement.layout import Layout
from kubedistill_operator.children.model_cache import hub_variables, model_volumes
from kubedistill_operator.children.pods import container, driver_command, driver_volumes, image_of, pod_template
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.names import DRIVER_CONTAINER
from kubedistill_operator.plan import Manifest


def build_job(request: ChildRequest, layout: Layout) -> Manifest:
    """Return a Job of one pod, which is tried once: the operator counts attempts, and deletes the Job later."""
    volumes = (*driver_volumes(request), *model_volumes(request, layout.driver))
    driver = container(
        request,
        DRIVER_CONTAINER,
        image=image_of(request.images, layout),
        placement=layout.driver,
        volumes=volumes,
        environment={CHANNEL_VARIABLE: request.channel, **hub_variables(request, volumes)},
        keys=request.endpoint_keys,
    ) | {"command": driver_command(request)}
    return {
        **KINDS["Job"].header,
        "metadata": request.metadata(request.name, labels=request.child_labels),
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "template": pod_template(
                request, driver, placement=layout.driver, volumes=volumes, restart="Never", token=True
            ),
        },
    }
