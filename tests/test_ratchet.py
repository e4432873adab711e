"""Counts that may only fall: where types are given up, and where a check is switched off.

A count is by names in the syntax tree and by comments. Who lowers one lowers its limit here; an exact match is asked
for, so that what was gained stays.
"""

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"api": "kubedistill", "operator": "kubedistill_operator", "runtime": "kubedistill_runtime"}
LIMITS = {
    "Any": 98,
    "cast": 1,
    "object as a parameter type": 12,
    "type: ignore": 16,
    "noqa": 6,
    "an untyped mapping in a signature that another package imports": 0,
}
_MAPPINGS = ("dict", "Mapping", "MutableMapping")


def names_in(node: ast.AST) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name))


def count_any(tree: ast.Module, _text: str) -> Iterator[int]:
    return (name.lineno for name in names_in(tree) if name.id == "Any")


def count_casts(tree: ast.Module, _text: str) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast":
            yield node.lineno


def count_objects(tree: ast.Module, _text: str) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield from (node.lineno for name in names_in(node.annotation) if name.id == "object")


def count_comments(word: str) -> Callable[[ast.Module, str], Iterator[int]]:
    def count(_tree: ast.Module, text: str) -> Iterator[int]:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and word in token.string:
                yield token.start[0]

    return count


def sources() -> Iterator[tuple[Path, str]]:
    for root in PACKAGES:
        for path in sorted((ROOT / root).rglob("*.py")):
            yield path, path.read_text()


def crossing() -> set[tuple[str, str]]:
    """Return module and name of each thing of api that operator or runtime imports."""
    found = set()
    for path, text in sources():
        for node in [] if path.is_relative_to(ROOT / "api") else ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kubedistill":
                found |= {(node.module or "", alias.name) for alias in node.names}
    return found


def is_untyped_mapping(node: ast.AST) -> bool:
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name) or node.value.id not in _MAPPINGS:
        return False
    return any(name.id in ("Any", "object") for name in names_in(node.slice))


def annotations_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the annotations of a function, or of a class's fields and public methods."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        yield from (one.annotation for one in every if one is not None and one.annotation is not None)
        if node.returns is not None:
            yield node.returns
    elif isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.AnnAssign):
                yield part.annotation
            elif not getattr(part, "name", "_").startswith("_"):
                yield from annotations_of(part)
    elif isinstance(node, ast.Assign):
        yield node.value


def untyped_signatures() -> Iterator[str]:
    imported = crossing()
    for path, text in sources():
        if not path.is_relative_to(ROOT / "api"):
            continue
        module = ".".join(path.relative_to(ROOT / "api").with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(text).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [getattr(node, "name", ""), *(one.id for one in targets if isinstance(one, ast.Name))]
            if any(f"{module}.".startswith(f"{room}.") and name in names for room, name in imported):
                for annotation in annotations_of(node):
                    if any(is_untyped_mapping(one) for one in ast.walk(annotation)):
                        yield f"{path.relative_to(ROOT)}:{annotation.lineno}"


COUNTS: dict[str, Callable[[ast.Module, str], Iterator[int]]] = {
    "Any": count_any,
    "cast": count_casts,
    "object as a parameter type": count_objects,
    "type: ignore": count_comments("type: ignore"),
    "noqa": count_comments("noqa"),
}


def places_of(what: str) -> list[str]:
    if what not in COUNTS:
        return list(untyped_signatures())
    return [
        f"{path.relative_to(ROOT)}:{line}" for path, text in sources() for line in COUNTS[what](ast.parse(text), text)
    ]


@pytest.mark.parametrize("what", LIMITS)
def test_a_count_only_falls(what: str) -> None:
    places = places_of(what)
    listed = "\n".join(places)
    assert len(places) <= LIMITS[what], f"{len(places)} of {what}, and {LIMITS[what]} are allowed:\n{listed}"
    assert len(places) == LIMITS[what], f"{what}: lower its limit to {len(places)}"


def test_each_count_finds_what_it_counts() -> None:
    text = "x: Any = cast(int, f())  # type: ignore[a]  # noqa: B\ndef f(x: object, y: list[object]) -> object: ...\n"
    found = {what: len(list(count(ast.parse(text), text))) for what, count in COUNTS.items()}
    assert found == {"Any": 1, "cast": 1, "object as a parameter type": 2, "type: ignore": 1, "noqa": 1}


SIGNATURES = {
    "def f(x: Mapping[str, Any]) -> int: ...": 1,
    "def f() -> dict[str, object]: ...": 1,
    "class A:\n    x: list[dict[str, Any]]\n    def f(self, y: int) -> None: ...": 1,
    "X = dict[str, Any]": 1,
    "def f(x: dict[str, int]) -> Mapping[str, Json]: ...": 0,
    "class A:\n    def _f(self) -> dict[str, Any]: ...": 0,
}


@pytest.mark.parametrize(("text", "expected"), SIGNATURES.items())
def test_an_untyped_mapping_is_found_in_a_signature(text: str, expected: int) -> None:
    (node,) = ast.parse(text).body
    assert sum(is_untyped_mapping(one) for found in annotations_of(node) for one in ast.walk(found)) == expected
