"""The template of a prompt: Jinja without calls, so that no template takes long or makes a large string."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.filters import FILTERS as DEFAULT_FILTERS
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kubedistill.errors import InvalidManifest
from kubedistill.json_values import Json

AT = "spec.task.prompt"
HIDDEN = "reference"
"""The key of a record that no template sees: it has the right answer."""
_MAX_CHARACTERS, _MAX_STEPS = 1_000_000, 10_000
"""Of a prompt, and of all loops of one rendering together."""
_STEP = "count step"
"""A name that no template can write."""
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.If, nodes.For, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand,
    nodes.Test, nodes.Filter, nodes.Tuple, nodes.List, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg,
)  # fmt: skip
_TESTS = ("boolean", "defined", "eq", "even", "false", "in", "mapping", "ne", "none", "number", "odd", "sequence",
          "string", "true", "undefined")  # fmt: skip
_MAX_FILTERS = 8
"""In a row: `tojson` of `tojson` may double a string each time."""


def _print(value: Json | Undefined) -> Json | Undefined:
    """Return a value that is printed; raises ValueError for one whose spelling in Python nobody wants."""
    if isinstance(value, Undefined | str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    kind = "null" if value is None else "true or false" if isinstance(value, bool) else "not text or a number"
    raise ValueError(f"a value is {kind}; print it as JSON by {{{{ … | tojson }}}}")


def _join(values: Iterable[Json], separator: str = "") -> str:
    return separator.join(str(_print(one)) for one in values)


def _to_json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


_FILTERS: dict[str, Callable[..., object]] = {
    **{name: DEFAULT_FILTERS[name] for name in ("default", "dictsort", "first", "items", "last", "sort", "unique")},
    # Jinja's own would also convert a list, and print what Python calls it.
    "capitalize": str.capitalize, "int": int, "join": _join, "length": len, "lower": str.lower, "round": round,
    "title": str.title, "tojson": _to_json, "trim": str.strip, "upper": str.upper,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A template that was checked."""

    template: Template
    variables: frozenset[str]
    """The keys of a record that it reads."""

    def render(self, values: Mapping[str, Json]) -> str:
        """Return the prompt of a record's values; raises ValueError, with the cause, if there is none."""
        known = {name: value for name, value in values.items() if name in self.variables and name != HIDDEN}
        steps = iter(range(_MAX_STEPS))
        pieces, left = list[str](), _MAX_CHARACTERS
        try:
            for piece in self.template.generate({**known, _STEP: lambda: _count(steps)}):
                left -= len(piece)
                if left < 0:
                    raise ValueError(f"the prompt has more than {_MAX_CHARACTERS:,} characters")
                pieces.append(piece)
        except (TemplateError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            raise ValueError(f"{error or type(error).__name__}") from error
        prompt = "".join(pieces)
        if not prompt.strip():
            raise ValueError("the prompt is blank")
        return prompt


@lru_cache(maxsize=8)
def compile_template(text: str) -> PromptTemplate:
    """Return the template of a string; raises InvalidManifest if it is not one, or has what templates may not have."""
    environment = _Environment(undefined=StrictUndefined, finalize=_print, trim_blocks=True, lstrip_blocks=True)
    environment.filters = dict(_FILTERS)
    environment.tests = {name: test for name, test in environment.tests.items() if name in _TESTS}
    environment.globals.clear()
    try:
        tree = environment.parse(text)
        _check(tree)
        variables = frozenset(meta.find_undeclared_variables(tree))
        _count_steps(tree)
        code = environment.compile(tree)
    except TemplateSyntaxError as error:
        problem = f"line {error.lineno}: {(error.message or '').rstrip('.')}"
        raise InvalidManifest(problem, at=AT, fix="Correct the template") from error
    if HIDDEN in variables:
        problem = "the template reads the reference, so every model would see the right answer"
        raise InvalidManifest(problem, at=AT, fix="Remove it from the template")
    return PromptTemplate(Template.from_code(environment, code, environment.make_globals(None)), variables)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which a dot and brackets read the keys and items of JSON values, and nothing else."""

    def getattr(self, obj: Json | LoopContext, attribute: str) -> object:
        """Return a value of an object, or what a loop knows of its place."""
        return super().getattr(obj, attribute) if isinstance(obj, LoopContext) else self.getitem(obj, attribute)

    def getitem(self, obj: Json, argument: str | int | slice) -> object:
        """Return a value of an object by its key, or an item or a part of a list or a string by its place."""
        try:
            if isinstance(obj, Mapping) and isinstance(argument, str):
                return obj[argument]
            if isinstance(obj, list | str | tuple) and not isinstance(argument, str):
                return obj[argument]
        except (LookupError, TypeError):  # no such key or place, or a place that is not a number
            pass
        return self.undefined(obj=obj, name=str(argument))


def _check(tree: nodes.Template) -> None:
    """Refuse calls, assignments, products and everything else that makes much of little."""
    for node in _walk(tree):
        if not isinstance(node, _ALLOWED):
            fix = "a template has only keys of the record, if, for, comparisons and filters"
            raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not allowed; {fix}", _line(node))
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateSyntaxError("a recursive loop is not allowed", _line(node))
        if isinstance(node, nodes.Filter):
            if node.name not in _FILTERS:
                raise TemplateSyntaxError(f"the filters are {', '.join(sorted(_FILTERS))}", _line(node))
            if any(not isinstance(one, nodes.Const) for one in [*node.args, *(pair.value for pair in node.kwargs)]):
                raise TemplateSyntaxError(f"the arguments of the filter {node.name} must be constants", _line(node))
            if len([one for one in _walk(node) if isinstance(one, nodes.Filter)]) > _MAX_FILTERS:
                raise TemplateSyntaxError(f"an expression has at most {_MAX_FILTERS} filters", _line(node))
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            raise TemplateSyntaxError(f"the tests are {', '.join(_TESTS)}", _line(node))


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield a node and all below it, without the names of a filter's arguments."""
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child.value if isinstance(child, nodes.Keyword) else child)


def _line(node: nodes.Node) -> int:
    return node.lineno or 1


def _count_steps(tree: nodes.Template) -> None:
    """Let each round of each loop count itself."""
    for loop in list(tree.find_all(nodes.For)):
        counter = nodes.Getitem(nodes.ContextReference(), nodes.Const(_STEP), "load")
        call = nodes.Call(counter, [], [], None, None)
        loop.body.insert(0, nodes.ExprStmt(call, lineno=loop.lineno))


def _count(steps: Iterator[int]) -> None:
    if next(steps, None) is None:
        raise ValueError(f"the loops of the template have more than {_MAX_STEPS:,} rounds")
