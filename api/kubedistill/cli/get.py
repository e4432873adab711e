"""`kubedistill get`: list jobs, or show one."""

from typing import Annotated, Literal

import typer

from kubedistill.cli.cluster import Context, Kubeconfig, Namespace, Session, job_names, session
from kubedistill.cli.output import print_resource, print_values, say_line, without_managers
from kubedistill.client import operations
from kubedistill.client.request import Values
from kubedistill.json_values import Json
from kubedistill.printing import printable_line

ListForm = Literal["json", "yaml", "name", "wide"]


def get(
    job: Annotated[
        str | None,
        typer.Argument(metavar="[JOB]", help="A job to show in full.", show_default=False, autocompletion=job_names),
    ] = None,
    *,
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List the jobs of all namespaces.")
    ] = False,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Annotated[
        ListForm | None, typer.Option("--output", "-o", help="Output format.", show_default=False)
    ] = None,
) -> None:
    """List jobs, or show one with its stages and its result."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        if job is not None and output != "wide":
            _show_one(connection, job, output)
        else:
            _list(connection, "" if all_namespaces else connection.namespace, job or "", output)


def _show_one(connection: Session, name: str, output: ListForm | None) -> None:
    """Print one job as a picture, or in the given format."""
    found = connection.run(operations.get(name, namespace=connection.namespace))
    if output is not None and output != "wide":
        print_resource(found.values, output)
        return
    from kubedistill.cli.picture import picture
    from kubedistill.cli.terminal import Terminal

    Terminal().print(picture(found), soft_wrap=True)


def _list(connection: Session, namespace: str, name: str, output: ListForm | None) -> None:
    """Print jobs as a table, or in the given format."""
    if output in ("json", "yaml", "name"):
        found = connection.run(operations.resources(namespace=namespace))
        if output == "name":
            for one in found:
                print_resource(one, "name")
            return
        items = [without_managers(one) for one in found]
        print_values({"apiVersion": "v1", "kind": "List", "items": items}, output)
        return
    if name:
        connection.run(operations.get(name, namespace=namespace))  # raises NoSuchJob
    table = connection.run(operations.table(namespace=namespace, name=name))
    if not table["rows"]:
        place = f"namespace {namespace}" if namespace else "the cluster"
        say_line(f"There are no jobs in {place}.", err=True)
        return
    for line in align_table(table, wide=output == "wide", with_namespaces=not namespace):
        say_line(line)


def align_table(table: Values, *, wide: bool, with_namespaces: bool) -> list[str]:
    """Return the lines of a table from the server, as kubectl prints it."""
    columns = [index for index, one in enumerate(table["columnDefinitions"]) if wide or not one.get("priority")]
    heads = [str(table["columnDefinitions"][index]["name"]).upper() for index in columns]
    rows = [[_cell(row["cells"][index]) for index in columns] for row in table["rows"]]
    if with_namespaces:
        heads = ["NAMESPACE", *heads]
        rows = [
            [row["object"]["metadata"]["namespace"], *cells] for row, cells in zip(table["rows"], rows, strict=True)
        ]
    lines = [heads, *rows]
    widths = [max(len(row[column]) for row in lines) for column in range(len(heads))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]


def _cell(value: Json) -> str:
    return "" if value is None else printable_line(str(value))
