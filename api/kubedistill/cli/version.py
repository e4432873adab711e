"""kubedistill version"""

import json
from typing import Annotated

import typer

from kubedistill import __version__


def version(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the version."""
    typer.echo(json.dumps({"version": __version__}) if as_json else __version__)
