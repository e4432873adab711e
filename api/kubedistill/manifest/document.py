"""A YAML 1.2 file as JSON values with their lines.

YAML has more than JSON: dates, sets, anchors that contain themselves. What `kubectl apply` accepts is read as kubectl
reads it (a date is a string), and anything else is refused with its line.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kubedistill.errors import InvalidManifest
from kubedistill.json_values import Json, JsonObject
from kubedistill.manifest.problems import Location, field_path

MAX_BYTES = 1024 * 1024  # the API server accepts no larger object
MAX_DEPTH = 64
MAX_VALUES = 100_000
MAX_BUILT = 4 * MAX_BYTES
"""Maximum number of characters of all values, with the values of an alias counted at each of its uses."""
_TOO_MANY = f"more than {MAX_VALUES:,} values"
_TAG = "tag:yaml.org,2002:"
_TEXTS = {"str", "timestamp", "value"}


@dataclass(frozen=True, slots=True)
class FileKind:
    """The expected content of a file, in the words of its error messages."""

    noun: str
    content: str
    start: str


MANIFEST = FileKind("manifest", "DistillationJob", "`kubedistill init` writes a starter")


@dataclass(frozen=True, slots=True)
class Document:
    """The document of a file with one document."""

    path: Path
    root: Node
    values: JsonObject

    def place(self, location: Location) -> str:
        """Return `file:line: spec.teachers[0].model`, with the line of the deepest part of the path that exists."""
        node, line = self.root, self.root.start_mark.line
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return f"{self.path}:{line + 1}: {field_path(location)}" if location else f"{self.path}:{line + 1}"


def read_document(path: Path, *, kind: FileKind = MANIFEST) -> Document:
    """Read a file that contains one mapping; raises InvalidManifest, with the line if it is known."""
    text = _read(path, kind=kind)
    try:
        _check_shape(text, path=path)
        nodes = list(YAML(typ="safe", pure=True).compose_all(text))
    except InvalidManifest:
        raise
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = f"not valid YAML ({error.problem})"
        raise InvalidManifest(problem, at=f"{path}{line}", fix="Fix the line") from error
    except (YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode
        problem = f"not valid YAML ({str(error).splitlines()[0]})"
        raise InvalidManifest(problem, at=str(path), fix=f"Fix the file; {kind.start}") from error
    documents = [(node, value) for node in nodes if (value := _Reading(path).value(node)) is not None]
    if len(documents) != 1:
        problem = f"the file has {len(documents)} documents" if documents else "the file is empty"
        raise InvalidManifest(problem, at=str(path), fix=f"Write one {kind.content}; {kind.start}")
    root, values = documents[0]
    if not isinstance(values, dict):
        raise InvalidManifest(
            "the document is not a mapping", at=str(path), fix=f"Write `field: value` lines; {kind.start}"
        )
    return Document(path, root, values)


def _read(path: Path, *, kind: FileKind) -> str:
    """Read a file as text; raises InvalidManifest if it can't be read, is too large, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = f"the {kind.noun} can't be read ({error.strerror})"
        raise InvalidManifest(problem, at=str(path), fix="Name a YAML file") from error
    if len(content) > MAX_BYTES:
        fix = f"Name a {kind.content}; data and models are in other files"
        raise InvalidManifest(f"the {kind.noun} is larger than 1 MiB", at=str(path), fix=fix)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"the {kind.noun} is not UTF-8"
        raise InvalidManifest(problem, at=f"{path}:{line}", fix="Convert the file") from error


def _check_shape(text: str, *, path: Path) -> None:
    """Raise InvalidManifest for a file that is too large or too deep for the parser, or for another YAML version."""
    depth = values = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        values += isinstance(event, NodeEvent)
        if values > 2 * MAX_VALUES:  # a mapping has a key for each value
            raise InvalidManifest(_TOO_MANY, at=f"{path}:{event.start_mark.line + 1}", fix="Remove what is not needed")
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidManifest(
                    f"nested deeper than {MAX_DEPTH} levels",
                    at=f"{path}:{event.start_mark.line + 1}",
                    fix="Fix the brackets or the indentation",
                )
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        elif isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
            raise InvalidManifest(
                f"the file declares YAML {'.'.join(map(str, event.version))}",
                at=f"{path}:{event.start_mark.line + 1}",
                fix="Remove the %YAML line, because manifests are YAML 1.2",
            )


@dataclass(slots=True)
class _Reading:
    """Converts nodes to values; the value of an alias is converted, and counted, at each of its uses."""

    path: Path
    left: int = MAX_VALUES
    characters_left: int = MAX_BUILT
    inside: list[Node] = field(default_factory=list)

    def value(self, node: Node) -> Json:
        """Return the JSON value of a node."""
        self.left -= 1
        if self.left < 0:
            raise self._refusal(node, _TOO_MANY, fix="Remove aliases that multiply")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if any(node is outer for outer in self.inside):
            raise self._refusal(node, "an anchor contains itself", fix="Write out the values")
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise self._unknown(node)
        self.inside.append(node)
        found: Json = self._mapping(node) if isinstance(node, MappingNode) else [self.value(one) for one in node.value]
        self.inside.pop()
        return found

    def _mapping(self, node: MappingNode) -> JsonObject:
        """Return a mapping with the fields that `<<` merges; fields of the mapping itself take precedence."""
        merged: JsonObject = {}
        own: JsonObject = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise self._refusal(key, "a field name is not a string", fix="Write `field: value`")
            if key.tag == f"{_TAG}merge":
                for source in self._merge_sources(value):
                    merged = source | merged
                continue
            self._count(key)
            name = self._text(key)
            if name in own:
                raise self._refusal(key, f"the field `{name}` is set twice", fix="Remove one of them")
            own[name] = self.value(value)
        return merged | own

    def _merge_sources(self, node: Node) -> Iterator[JsonObject]:
        """Yield the mappings that `<<` merges; the first one with a field wins."""
        for one in node.value if isinstance(node, SequenceNode) else [node]:
            source = self.value(one)
            if not isinstance(source, dict):
                raise self._refusal(node, "`<<` can merge only mappings", fix="Write out the fields")
            yield source

    def _count(self, node: ScalarNode) -> None:
        """Count the characters of a scalar; raises InvalidManifest above the maximum."""
        self.characters_left -= len(node.value)
        if self.characters_left < 0:
            problem = f"more than {MAX_BUILT // MAX_BYTES} MiB of values"
            raise self._refusal(node, problem, fix="Remove aliases that multiply")

    def _scalar(self, node: ScalarNode) -> Json:
        """Return the value of a scalar by its YAML type."""
        self._count(node)
        kind = (node.tag or "").removeprefix(_TAG)
        if kind in _TEXTS:
            return self._text(node)
        if kind == "null":
            return None
        if kind not in _READERS:
            raise self._unknown(node)
        try:
            return _READERS[kind](node.value.replace("_", "").lower())
        except (KeyError, ValueError) as error:
            fix = "Put it in quotes if it is a string"
            raise self._refusal(node, f"the {kind} is not valid, or too long", fix=fix) from error

    def _text(self, node: ScalarNode) -> str:
        """Return a string; two escapes that JSON uses for one character beyond 16 bits become that character."""
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            fix = "Write the character itself"
            raise self._refusal(node, "half a surrogate pair", fix=fix) from error

    def _unknown(self, node: Node) -> InvalidManifest:
        tag = (node.tag or "").replace(_TAG, "!!")
        return self._refusal(
            node, f"the tag {tag} is not supported, because JSON has no such type", fix="Remove the tag"
        )

    def _refusal(self, node: Node, problem: str, *, fix: str) -> InvalidManifest:
        return InvalidManifest(problem, at=f"{self.path}:{node.start_mark.line + 1}", fix=fix)


def _integer(text: str) -> int:
    based = text.lstrip("+-")[:2] in ("0x", "0o", "0b")
    return int(text, 0 if based else 10)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_READERS: dict[str, Callable[[str], bool | int | float]] = {
    "bool": {"true": True, "false": False}.__getitem__,
    "int": _integer,
    "float": _float,
}


def _child(node: Node, part: int | str) -> tuple[int, Node] | None:
    """Return the line and the node of a field or an item; None if there is none."""
    if isinstance(node, MappingNode):
        return next(((key.start_mark.line, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
