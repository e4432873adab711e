"""Base classes of all messages: frozen, with camelCase in JSON, and with a version for messages between processes."""

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

CONTRACT = 1
ACCEPTED_CONTRACTS = range(max(1, CONTRACT - 1), CONTRACT + 1)
"""Versions that the operator understands; a run, and therefore its driver, may be older than the operator."""
MESSAGE_BYTES = 16 * 1024


class StoredModel(BaseModel):
    """A part of a stored file or a message; fields of newer versions are ignored, and new fields have defaults."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_values(self) -> dict[str, JsonValue]:
        """Return the JSON values, with null for values that are not known."""
        return self.model_dump(mode="json", by_alias=True)


class Summary(StoredModel):
    """The figures in the result of a stage; empty if the artifacts already existed."""


class ContractModel(StoredModel):
    """A message between two processes, with its version."""

    contract: int = CONTRACT

    def to_values(self) -> dict[str, JsonValue]:
        """Return the JSON values without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """Return the message as JSON text without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
