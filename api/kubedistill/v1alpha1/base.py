"""What all resource models share: camelCase on the wire, frozen in memory, unknown fields refused."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _check_uri(uri: str) -> str:
    try:
        urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"neither a path nor a URI ({error}); Mend its brackets") from error
    return uri


Fraction = Annotated[float, Field(ge=0, le=1)]
Uri = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check_uri)]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Model(BaseModel):
    """One object of the resource; docstrings under fields become the CRD's descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def keyed_by(field: str) -> dict[str, Any]:
    """Build the schema extra that makes the API server treat a list as a map with this field as its key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Build the schema extra that makes the API server check (rule, message) pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}
