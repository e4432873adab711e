"""`kubedistill init`: write a starter job."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from kubedistill.cli.output import say_line
from kubedistill.errors import InvalidInput
from kubedistill.files import create_file
from kubedistill.v1alpha1.task import TaskType


def init(
    task: Annotated[TaskType, typer.Argument(help="Type of task.", case_sensitive=False)] = "Classification",
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("job.yaml"),
) -> None:
    """Write a commented starter manifest."""
    starter = files("kubedistill.cli") / "starters" / f"{task.lower()}.yaml"
    try:
        create_file(output, starter.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise InvalidInput("the file already exists", at=str(output), fix="Name another one with --output") from error
    except OSError as error:
        problem = f"the file can't be written ({error.strerror})"
        raise InvalidInput(problem, at=str(output), fix="Name another one with --output") from error
    say_line(f"wrote {output}; edit it, then run: kubedistill validate {output}")
