"""The process in which vLLM checks arguments for GPUs that are declared to it: no weights, downloads or network.

It reads a VllmCheck per line from stdin, and writes a VllmReply per line, until stdin ends.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

from pydantic import ValidationError

from kubedistill_runtime.root_cause import describe_cause
from kubedistill_runtime.serving.arguments import usage_context
from kubedistill_runtime.serving.declared_gpus import DeclaredGpus, declare_gpus
from kubedistill_runtime.serving.vllm_check import VllmCheck, VllmReply

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
_NOT_INSPECTED = "failed to be inspected"
"""What vLLM says if it can't import a model's class, which may need an extension that this build lacks."""


def main() -> None:
    """Answer until stdin ends, which it does when the parent ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries must not mix with replies
    os.environ.update(_ENVIRONMENT)
    logging.disable()
    declared: DeclaredGpus | None = None
    for line in sys.stdin:
        check = VllmCheck.model_validate_json(line)
        try:
            declared = declared or declare_gpus(check.hardware)
            declared.hardware = check.hardware
            reply = _check(check)
        except Exception as error:  # whatever this build of vLLM lacks, it is not a refusal
            reply = VllmReply(failure=describe_cause(error))
        replies.write(reply.model_dump_json() + "\n")
        replies.flush()


def _check(check: VllmCheck) -> VllmReply:
    """Return what vLLM says of the arguments, and of the dtype and heads, which its workers check at their start."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform

    try:
        config = EngineArgs(**check.arguments).create_engine_config(usage_context())
        current_platform.check_if_supports_dtype(config.model_config.dtype)
        _check_heads(config)
    except ValidationError as error:
        first = error.errors()[0]
        reply = VllmReply(
            refusal=first["msg"].removeprefix("Value error, "), argument=str(first["loc"][-1]) if first["loc"] else ""
        )
    except (ValueError, NotImplementedError) as error:  # vLLM's own checks raise these
        reply = VllmReply(refusal=str(error))
    else:
        return VllmReply()
    return VllmReply(failure=reply.refusal) if _NOT_INSPECTED in (reply.refusal or "") else reply


def _check_heads(config: "VllmConfig") -> None:
    """Check that the GPUs can share the heads with keys and values, or each has one; raises ValueError.

    vLLM checks the other heads itself, and asserts these where it makes a layer.
    """
    heads, gpus = config.model_config.get_total_num_kv_heads(), config.parallel_config.tensor_parallel_size
    if config.model_config.use_mla or not heads:  # all GPUs have the compressed vectors
        return
    if heads % gpus and gpus % heads:
        raise ValueError(
            f"Total number of key and value heads ({heads}) must be divisible by tensor parallel size ({gpus}), or "
            "divide it."
        )


if __name__ == "__main__":
    main()
