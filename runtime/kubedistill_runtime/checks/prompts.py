"""Whether a chat template accepts the job's roles, and writes the messages of users and systems."""

from collections.abc import Iterable, Mapping, Sequence

from kubedistill.errors import InvalidModel
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.fit.sizes import text_config
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record, Split, longest_prompt

_RECORDS = 4
"""Number of records to render for each sequence of roles."""


def check_prompts(splits: Mapping[Split, Sequence[Record]], *, chat: ChatFormat, at: str) -> None:
    """Render sample records of each sequence of roles, with all their turns.

    Raises InvalidModel, with the model's field, if the template refuses them or omits the text of a message.
    """
    for record in _samples(record for records in splits.values() for record in records):
        try:
            messages = longest_prompt(record)
            text = chat.render(messages, asking=True)
        except InvalidModel as refused:
            raise InvalidModel(f"{refused.problem}; record {record.id!r}", at=at, fix=refused.fix) from refused
        _check_written(messages, text=text, record=record, at=at)


def _samples(records: Iterable[Record]) -> list[Record]:
    seen: dict[tuple[str, ...], int] = {}
    found = []
    for record in records:
        roles = tuple(message.role for message in record.messages)
        seen[roles] = seen.get(roles, 0) + 1
        if seen[roles] <= _RECORDS:
            found.append(record)
    return found


def _check_written(messages: Sequence[Message], *, text: str, record: Record, at: str) -> None:
    """Check that each message comes after the previous one; a template may trim messages, and change replies."""
    start = 0
    for message in messages:
        if message.role == "assistant":
            continue
        place = text.find(message.content.strip(), start if message.role == "user" else 0)
        if place < 0:
            raise InvalidModel(
                f"its chat template omits the {message.role} message of record {record.id!r}, and writes only "
                f"{text[:120]!r}",
                at=at,
                fix=f"Use a checkpoint whose template writes {message.role} messages unchanged",
            )
        start = place if message.role == "user" else start


def count_tokens(record: Record, *, chat: ChatFormat, model: Model, at: str) -> int:
    """Return the tokens of a record's longest prompt; raises InvalidModel for an id without an embedding."""
    ids = chat.prompt_ids(longest_prompt(record))
    embeddings = text_config(model.config).get("vocab_size")
    if isinstance(embeddings, int) and max(ids, default=0) >= embeddings:
        raise InvalidModel(
            f"its tokenizer gives id {max(ids)} to record {record.id!r}, but it has embeddings for {embeddings} ids",
            at=at,
            fix="Use the tokenizer that the model was trained with",
        )
    return len(ids)


def count_special_text(splits: Mapping[Split, Sequence[Record]], *, chat: ChatFormat) -> int:
    """Return the number of records that contain the text of a special token, which is encoded as plain text."""
    return sum(
        chat.count_special(message.content for message in record.messages) > 0
        for records in splits.values()
        for record in records
    )
