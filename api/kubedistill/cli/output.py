"""Output of commands: filtered text for people, and JSON, YAML or names for machines."""

import io
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kubedistill.cli.cluster import RESOURCE
from kubedistill.client.request import Values
from kubedistill.json_values import Json
from kubedistill.printing import printable, printable_line

if TYPE_CHECKING:
    from ruamel.yaml import YAML

Form = Literal["json", "yaml", "name"]
Output = Annotated[Form | None, typer.Option("--output", "-o", help="Output format.", show_default=False)]
DataOutput = Annotated[
    Literal["json", "yaml"] | None, typer.Option("--output", "-o", help="Output format.", show_default=False)
]


def say(text: str, *, err: bool = False) -> None:
    """Print text that may have several lines, to standard output or standard error."""
    typer.echo(printable(text), err=err)


def say_line(text: str, *, err: bool = False) -> None:
    """Print text on one line, whatever it contains."""
    typer.echo(printable_line(text), err=err)


def print_json(values: Json) -> None:
    """Print JSON values on one line."""
    say_line(json.dumps(values))


def print_yaml(values: Json, writer: "YAML") -> None:
    """Print values as YAML; if one of them is not printable, escape all characters beyond ASCII."""
    text = io.StringIO()
    writer.dump(values, text)
    if printable(text.getvalue()) != text.getvalue():
        text, writer.allow_unicode = io.StringIO(), False
        writer.dump(values, text)
    say(text.getvalue().removesuffix("\n"))


def say_colored(*parts: tuple[str, str | None]) -> None:
    """Print parts of text that may have several lines, each in its color or without one."""
    texts = [(printable(text), color) for text, color in parts]
    typer.echo("".join(typer.style(text, fg=color) if color else text for text, color in texts))


def print_values(values: Json, form: Literal["json", "yaml"]) -> None:
    """Print JSON values as JSON or YAML."""
    if form == "json":
        say(json.dumps(values, indent=4))
        return
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    print_yaml(values, yaml)


def print_resource(values: Values, form: Form) -> None:
    """Print a resource without its managedFields."""
    if form == "name":
        say_line(f"{RESOURCE}/{values['metadata']['name']}")
        return
    print_values(without_managers(values), form)


def without_managers(values: Values) -> Values:
    """Return a resource without its managedFields, as kubectl shows it."""
    kept = {name: value for name, value in values["metadata"].items() if name != "managedFields"}
    return {**values, "metadata": kept}
