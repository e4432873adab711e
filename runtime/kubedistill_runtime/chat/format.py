"""One model's chat format: the ids of prompts and replies, and the ids that end a reply."""

import bisect
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubedistill.errors import InvalidData, InvalidModel
from kubedistill_runtime.chat.plain import NO_SPECIAL_TOKENS, SpecialTokens, choose_mark, encode_marked
from kubedistill_runtime.chat.template import REASONING
from kubedistill_runtime.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE = "kubedistill"
"""A sample reply, to find what a template writes around a reply."""
_HEAD = 48
"""Number of ids that are enough to contain an opening tag, however it is tokenized."""
_FIX = (
    "Put the system prompt into the first user turn and remove what adds one (systemPrompt, and chainOfThought, "
    "chainOfDensity and maxSummaryWords of the task), or use another model"
)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A tokenizer, its template, and the tokens that end a reply."""

    tokenizer: "PreTrainedTokenizerBase"
    stop_ids: tuple[int, ...]
    """Ids that end a reply."""
    end_id: int
    """The stop id that the student learns to end a reply with."""
    date: datetime.date | None = None
    """Today's date, for a template that asks for it."""
    reasoning: tuple[str, str] | None = None
    """The tags around reasoning in the template."""
    special: SpecialTokens = NO_SPECIAL_TOKENS
    variables: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """What the template is given in addition to the messages."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the prompt for the next reply: all messages and the generation prompt.

        Raises InvalidModel if the template refuses the messages; some refuse a system message.
        """
        return self._encode(messages, self.render(messages, asking=True), asking=True)

    def turn_ids(self, messages: Sequence[Message], reply: str) -> tuple[list[int], list[int]]:
        """Return the ids of a prompt and of a reply to it, as the template renders them, up to the stop id."""
        said = [*messages, Message("assistant", reply)]
        asked, text = self.render(messages, asking=True), self.render(said, asking=False)
        prompt = self._encode(messages, asked, asking=True)
        if not text.startswith(asked):  # the generation prompt has text that the template omits before a reply
            return prompt, [*self._continue(asked, self._close_reasoning(asked) + reply), self.end_id]
        whole = self._encode(said, text, asking=False)
        if whole[: len(prompt)] == prompt and self.end_id in whole[len(prompt) :]:
            return prompt, whole[len(prompt) : whole.index(self.end_id, len(prompt)) + 1]
        return prompt, [*self._continue(asked, self._cut(text[len(asked) :], messages, asked) or reply), self.end_id]

    def _cut(self, tail: str, messages: Sequence[Message], asked: str) -> str:
        """Return the part of a rendered tail up to the end of the reply."""
        probe = self.render([*messages, Message("assistant", PROBE)], asking=False)[len(asked) :]
        after = probe.rpartition(PROBE)[2]
        return tail.removesuffix(after)

    def render(self, messages: Sequence[Message], *, asking: bool) -> str:
        """Return the text of messages, with the generation prompt if `asking`; raises InvalidModel like prompt_ids."""
        values = [{"role": message.role, "content": message.content} for message in messages]
        given = {**self.variables, **({"strftime_now": self.date.strftime} if self.date else {})}
        try:
            text: str = self.tokenizer.apply_chat_template(
                values, add_generation_prompt=asking, tokenize=False, **given
            )
        except Exception as error:  # a template is a program, which may raise any error
            roles = ", ".join(message.role for message in messages[:6])
            first = next(iter(str(error).splitlines()), type(error).__name__)
            problem = f"its chat template refuses the roles {roles} ({first})"
            raise InvalidModel(problem, at=str(self.tokenizer.name_or_path), fix=_FIX) from error
        return text

    def text(self, ids: Sequence[int]) -> str:
        """Return the answer in a reply: its text without the stop token, special tokens and reasoning."""
        answer, _ = self._split(ids)
        return answer

    def has_reasoning(self, ids: Sequence[int]) -> bool:
        """Return whether a reply contains more than its answer."""
        if self._tags_of(ids) is None:
            return False
        _, reasoned = self._split(ids)
        return reasoned

    def _split(self, ids: Sequence[int]) -> tuple[str, bool]:
        """Return the answer in a reply, and whether it was split from reasoning."""
        said = ids[:-1] if ids and ids[-1] in self.stop_ids else ids  # a stop token need not be a special token
        tags = self._tags_of(said)
        if tags is None:
            return self._decode(said), False
        whole = self._decode(said, special=True)  # a tag may be a special token, which decoding would skip
        opening, closing = tags
        if closing in whole:
            return self._after(closing, said, times=whole.count(closing)).lstrip(), True
        # A reply whose reasoning never ended has no answer.
        begun = whole.lstrip().startswith(opening) or self._asks_for_reasoning()
        return ("", True) if begun else (self._decode(said), False)

    def count_special(self, texts: Iterable[str]) -> int:
        """Return how often the text of a special token occurs in strings."""
        return sum(self.special.count(text) for text in texts)

    def _decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        decoded: str = self.tokenizer.decode(list(ids), skip_special_tokens=not special)
        return decoded

    def _ids_of(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _encode(self, messages: Sequence[Message], rendered: str, *, asking: bool) -> list[int]:
        """Return the ids of rendered messages; only special tokens that the template writes become control ids."""
        texts = [message.content for message in messages]
        if not self.count_special(texts):
            return self._ids_of(rendered)
        mark = choose_mark(texts)
        self._check_pieces(messages, asking=asking, mark=mark)
        marked = [Message(one.role, self.special.mark(one.content, mark=mark)) for one in messages]
        text = self.render(marked, asking=asking)
        return encode_marked(text, mark=mark, tokenizer=self.tokenizer, special=self.special)

    def _check_pieces(self, messages: Sequence[Message], *, asking: bool, mark: str) -> None:
        """Check that this tokenizer encodes pieces as it encodes the whole text; raises InvalidData."""
        clean = self.render([Message(one.role, self.special.remove(one.content)) for one in messages], asking=asking)
        pieces = encode_marked(clean, mark=mark, tokenizer=self.tokenizer, special=self.special)
        if pieces != self._ids_of(clean):
            example = next(one.content for one in messages if self.special.count(one.content))
            raise InvalidData(
                f"{example[:60]!r} contains a special token, which this tokenizer can't encode as text",
                at=str(self.tokenizer.name_or_path),
                fix="Remove it from the record",
            )

    def _continue(self, asked: str, text: str) -> list[int]:
        """Return the ids of text that follows a prompt, tokenized together with the prompt if possible."""
        if self.special.count(text):
            mark = choose_mark([text])
            marked = self.special.mark(text, mark=mark)
            return encode_marked(marked, mark=mark, tokenizer=self.tokenizer, special=self.special)
        prompt, whole = self._ids_of(asked), self._ids_of(asked + text)
        return whole[len(prompt) :] if whole[: len(prompt)] == prompt else self._ids_of(text)

    def _close_reasoning(self, asked: str) -> str:
        """Return the text that ends the reasoning that a generation prompt began; empty if it began none."""
        return f"{self.reasoning[1]}\n\n" if self.reasoning and self._begins_reasoning(asked) else ""

    def _tags_of(self, ids: Sequence[int]) -> tuple[str, str] | None:
        """Return the tags that a reply may have: the template's, otherwise a known pair that the reply begins with."""
        if self.reasoning is not None:
            return self.reasoning
        head = self._decode(ids[:_HEAD], special=True).lstrip()
        return next((pair for pair in REASONING if head.startswith(pair[0])), None)

    def _after(self, closing: str, ids: Sequence[int], *, times: int) -> str:
        """Return the text after the last of `times` closing tags, even if it is within a token."""

        def has_all(count: int) -> bool:
            return self._decode(ids[:count], special=True).count(closing) == times

        place = bisect.bisect_left(range(len(ids)), True, key=has_all)
        before = self._decode(ids[:place], special=True)
        return before.rpartition(closing)[2] + self._decode(ids[place:])

    def _asks_for_reasoning(self) -> bool:
        """Return whether the generation prompt begins reasoning."""
        return self._begins_reasoning(self.render([Message("user", "?")], asking=True))

    def _begins_reasoning(self, asked: str) -> bool:
        return self.reasoning is not None and asked.rstrip().endswith(self.reasoning[0])
