"""Types of the strings in the settings that become part of pod specs, with the rules that Kubernetes has for them.

A run may have been frozen with strings that an earlier version checked by fewer rules. They stay readable, and the
operator checks them again when it creates pods.
"""

import re
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from kubedistill.stored import is_stored
from kubedistill.v1alpha1.base import DOMAIN

LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
"""The value of a label, or the part of its key after the slash."""
_MAX_DOMAIN = 253
_QUALIFIED = f"^({DOMAIN}/)?{LABEL}$"
_VALUE = f"^({LABEL})?$"
_RESOURCE = f"^{DOMAIN}/{LABEL}$"
_QUOTA = "requests."
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_OUR_VARIABLES = (
    r"^(KUBEDISTILL_.*|RAY_.*|KUBERNETES_.*|PATH|HOME|USER|PYTHON.*|NVIDIA_VISIBLE_DEVICES|OMP_NUM_THREADS"
    r"|HF_HOME|HF_HUB_OFFLINE|VLLM_CACHE_ROOT|VLLM_ENABLE_V1_MULTIPROCESSING|VLLM_LOGGING_LEVEL|VLLM_NO_USAGE_STATS"
    r"|TRITON_CACHE_DIR|TORCHINDUCTOR_CACHE_DIR|FLASHINFER_WORKSPACE_BASE|CUDA_CACHE_PATH"
    r"|([Hh][Tt][Tt][Pp][Ss]?|[Nn][Oo])_([Pp][Rr][Oo][Xx][Yy])|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)$"
)
"""Variables of pods that the operator, the images or the runtime set."""
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*(:[0-9]{1,5})?"
_IMAGE = f"^({_HOST}/)?{_PART}(/{_PART})*" + r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,128})?$"


def _check(value: str, info: ValidationInfo, *, pattern: str, problem: str) -> str:
    if not is_stored(info) and (not re.fullmatch(pattern, value) or len(_domain_of(value)) > _MAX_DOMAIN):
        raise ValueError(f'"{value}" is not {problem}')
    return value


def _check_resource(value: str, info: ValidationInfo) -> str:
    """Check the name of an extended resource, which must also be valid in a quota."""
    problem = "the name of an extended resource; Write a domain, a slash and a name, such as nvidia.com/gpu"
    _check(value, info, pattern=_RESOURCE, problem=problem)
    if not is_stored(info) and value.startswith(_QUOTA):
        raise ValueError(f'"{value}" is the name of a resource in a quota; Remove {_QUOTA}')
    if not is_stored(info) and len(_QUOTA + _domain_of(value)) > _MAX_DOMAIN:
        raise ValueError(
            f'"{value}" has a domain that is too long; Shorten it to {_MAX_DOMAIN - len(_QUOTA)} characters'
        )
    return value


def _check_variable(name: str, info: ValidationInfo) -> str:
    """Check the name of an environment variable, which must not be one that the operator or the runtime sets."""
    if not is_stored(info) and not re.fullmatch(_VARIABLE, name):
        raise ValueError(f'"{name}" is not an environment variable; Use letters, digits and underscores')
    if not is_stored(info) and re.match(_OUR_VARIABLES, name):
        raise ValueError(f'"{name}" is a variable that kubedistill sets itself; Remove it')
    return name


def _domain_of(value: str) -> str:
    return value.rpartition("/")[0]


_KEY_RULE = "the key of a label; Use letters, digits, dashes, underscores and dots, after an optional domain and slash"
_VALUE_RULE = "the value of a label; Use at most 63 letters, digits, dashes, underscores and dots, and no spaces"
_IMAGE_RULE = "an image; Write registry/name:tag or registry/name@sha256:digest in lower case"

LabelKey = Annotated[
    str,
    Field(json_schema_extra={"pattern": _QUALIFIED, "maxLength": 317}),
    AfterValidator(partial(_check, pattern=_QUALIFIED, problem=_KEY_RULE)),
]
LabelValue = Annotated[
    str,
    Field(json_schema_extra={"pattern": _VALUE, "maxLength": 63}),
    AfterValidator(partial(_check, pattern=_VALUE, problem=_VALUE_RULE)),
]
TolerationKey = Annotated[
    str,
    Field(max_length=317, json_schema_extra={"pattern": f"^(({DOMAIN}/)?{LABEL})?$"}),
    AfterValidator(partial(_check, pattern=f"^(({DOMAIN}/)?{LABEL})?$", problem=_KEY_RULE)),
]
GpuResource = Annotated[
    str,
    Field(
        min_length=1, max_length=317,
        json_schema_extra={"pattern": _RESOURCE, "not": {"pattern": r"^requests\."}},
    ),
    AfterValidator(_check_resource),
]  # fmt: skip
Image = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"pattern": _IMAGE}),
    AfterValidator(partial(_check, pattern=_IMAGE, problem=_IMAGE_RULE)),
]
VariableName = Annotated[
    str,
    Field(
        min_length=1, max_length=128,
        json_schema_extra={"pattern": _VARIABLE, "not": {"pattern": _OUR_VARIABLES}},
    ),
    AfterValidator(_check_variable),
]  # fmt: skip
VariableValue = Annotated[str, Field(max_length=1024, pattern=r"^[ -#%-~]*$")]
"""No dollar sign: Kubernetes replaces $(NAME) in variables."""
