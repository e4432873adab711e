"""The words of the messages, their labels, and how likely a label is to use a word."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path


class Source(StrEnum):
    """The list a cue was taken from."""

    OWN = "own"
    AREA = "area"
    ACTION = "action"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Cue:
    """A phrase, with the list it stands in; `owner` is the label, area or action of that list, "" for noise."""

    source: Source
    owner: str
    phrase: str


@dataclass(frozen=True, slots=True)
class Draw:
    """One way to draw a cue for a label: a list, and the probability of choosing that list."""

    probability: float
    cues: tuple[Cue, ...]


# A label shares nearly as much with its two siblings as with itself. This graded doubt is what soft labels can teach.
OWN_SHARE, SIBLING_SHARE, AREA_SHARE, ACTION_SHARE, NOISE_SHARE = 0.27, 0.13, 0.13, 0.11, 0.23


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Word lists: `own` by label ("area.action"), `area` by area, `action` by action."""

    areas: tuple[str, ...]
    actions: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]]
    area: Mapping[str, tuple[str, ...]]
    action: Mapping[str, tuple[str, ...]]
    noise: tuple[str, ...]
    topic_templates: tuple[str, ...]
    action_templates: tuple[str, ...]
    modifiers: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{area}.{action}" for area in self.areas for action in self.actions)

    def siblings(self, label: str) -> tuple[str, str]:
        """The two labels most like this one: same area and next action, next area and same action."""
        area, action = label.split(".")
        next_area = self.areas[(self.areas.index(area) + 1) % len(self.areas)]
        next_action = self.actions[(self.actions.index(action) + 1) % len(self.actions)]
        return f"{area}.{next_action}", f"{next_area}.{action}"

    def cues_of(self, source: Source, owner: str) -> tuple[Cue, ...]:
        phrases = self.noise if source is Source.NOISE else getattr(self, source)[owner]
        return tuple(Cue(source, owner, phrase) for phrase in phrases)

    def all_cues(self) -> tuple[Cue, ...]:
        lists = [(Source.OWN, label) for label in self.labels]
        lists += [(Source.AREA, area) for area in self.areas]
        lists += [(Source.ACTION, action) for action in self.actions]
        lists += [(Source.NOISE, "")]
        return tuple(cue for source, owner in lists for cue in self.cues_of(source, owner))

    def draws(self, label: str) -> tuple[Draw, ...]:
        """Every list a cue for `label` may come from; inside a list all cues are equally likely."""
        area, action = label.split(".")
        first, second = self.siblings(label)
        return (
            Draw(OWN_SHARE, self.cues_of(Source.OWN, label)),
            Draw(SIBLING_SHARE, self.cues_of(Source.OWN, first)),
            Draw(SIBLING_SHARE, self.cues_of(Source.OWN, second)),
            Draw(AREA_SHARE, self.cues_of(Source.AREA, area)),
            Draw(ACTION_SHARE, self.cues_of(Source.ACTION, action)),
            Draw(NOISE_SHARE, self.cues_of(Source.NOISE, "")),
        )


@cache
def load_vocabulary() -> Vocabulary:
    """The vocabulary of the quickstart, from `vocabulary.toml`."""
    data = tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))

    def freeze(value: list[str] | dict[str, list[str]]) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
        return tuple(value) if isinstance(value, list) else {key: tuple(words) for key, words in value.items()}

    return Vocabulary(**{name: freeze(value) for name, value in data.items()})
