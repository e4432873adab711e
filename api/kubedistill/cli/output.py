"""What commands print for machines: JSON, YAML, or names that kubectl takes."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from kubedistill.cli.cluster import RESOURCE

Form = Literal["json", "yaml", "name"]
Output = Annotated[Form | None, typer.Option("--output", "-o", help="Form of the output.", show_default=False)]
DataOutput = Annotated[
    Literal["json", "yaml"] | None, typer.Option("--output", "-o", help="Form of the output.", show_default=False)
]


def print_values(values: Any, form: Literal["json", "yaml"]) -> None:
    """Print JSON values in a form."""
    if form == "json":
        typer.echo(json.dumps(values, indent=4))
        return
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(values, sys.stdout)


def print_resource(values: Mapping[str, Any], form: Form) -> None:
    """Print a resource, without who has written which of its fields."""
    if form == "name":
        typer.echo(f"{RESOURCE}/{values['metadata']['name']}")
        return
    print_values(without_managers(values), form)


def without_managers(values: Mapping[str, Any]) -> dict[str, Any]:
    """A resource as kubectl shows it."""
    kept = {name: value for name, value in values["metadata"].items() if name != "managedFields"}
    return {**values, "metadata": kept}
