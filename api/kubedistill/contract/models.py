"""The base of all messages: frozen, camelCase in JSON, and versioned where it crosses a process on its own."""

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

CONTRACT = 1
ACCEPTED_CONTRACTS = range(max(1, CONTRACT - 1), CONTRACT + 1)
"""Versions that the operator understands: a run, and so its driver, may be older than it."""
MESSAGE_BYTES = 16 * 1024


class StoredModel(BaseModel):
    """A part of what is stored or said; fields of a newer version are ignored, and new fields have defaults."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_values(self) -> dict[str, JsonValue]:
        """Return the JSON values, null where a value is not known."""
        return self.model_dump(mode="json", by_alias=True)


class Summary(StoredModel):
    """The figures of one stage's result; none where the stage found all of its work done."""


class ContractModel(StoredModel):
    """A message between two processes; it says its version."""

    contract: int = CONTRACT

    def to_values(self) -> dict[str, JsonValue]:
        """Return the JSON values without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_json(self) -> str:
        """Encode without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
