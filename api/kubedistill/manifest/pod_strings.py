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
