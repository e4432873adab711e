"""`kubedistill import`: convert the jobs and data of other services."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from kubedistill.cli.output import print_json, print_yaml, say, say_line
from kubedistill.importers.azureml.models import load_models
from kubedistill.importers.azureml.translation import translate
from kubedistill.importers.openai.conversion import convert, count_reasons
from kubedistill.importers.openai.folder import write_folder

importing = typer.Typer(name="import", help="Convert jobs and data of other services.", no_args_is_help=True)
Source = Annotated[Path, typer.Argument(help="An Azure ML distillation job, as YAML.", show_default=False)]
Table = Annotated[Path | None, typer.Option(help="Your own table of models, as YAML.", show_default=False)]


@importing.callback()
def _group() -> None:
    """Convert jobs and data of other services."""


@importing.command()
def azureml(
    job: Source,
    *,
    models: Table = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, including all differences.")] = False,
) -> None:
    """Print an Azure ML distillation job as a DistillationJob, and all differences to standard error."""
    translation = translate(job, models=load_models(models))
    if as_json:
        remarks = [asdict(remark) for remark in translation.remarks]
        print_json({"job": translation.values, "remarks": remarks})
        return
    writer = YAML()
    writer.indent(mapping=2, sequence=4, offset=2)
    print_yaml(translation.values, writer)
    for remark in translation.remarks:
        say(f"{remark.field}: {'left out: ' if remark.dropped else ''}{remark.message}", err=True)


@importing.command()
def openai(
    files: Annotated[list[Path], typer.Argument(help="Files that OpenAI exported or accepts.", show_default=False)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
) -> None:
    """Write OpenAI's files as records with a job to start from, and all differences to standard error."""
    found = convert(files)
    written = write_folder(output, found)
    for remark, count in found.remarks.most_common():
        say_line(f"{count:,} records: {remark}", err=True)
    for problem, count in count_reasons(found.left_out):
        say_line(f"{count:,} left out: {problem}", err=True)
    for line in written:
        say_line(f"wrote {line}")
