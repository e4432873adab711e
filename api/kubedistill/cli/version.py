"""`kubedistill version`: print the version."""

from typing import Annotated

import typer

from kubedistill import __version__
from kubedistill.cli.output import print_json, say_line


def version(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version."""
    print_json({"version": __version__}) if as_json else say_line(__version__)
