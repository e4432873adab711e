"""`kubedistill preview`: show records as the student will see them."""

from typing import Annotated

import typer

from kubedistill.cli.output import print_json
from kubedistill.cli.run import Store, default_store
from kubedistill.cli.runtime import ask_runtime
from kubedistill.cli.validate import ConfigMaps, Manifest
from kubedistill.contract.events import PreviewEvent
from kubedistill.manifest.loading import load_manifest
from kubedistill.runtime_process import check_runtime, runtime_arguments


def preview(
    manifest: Manifest,
    *,
    store: Store = None,
    configmap: ConfigMaps = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show three records as the student will see them: template, loss mask and end token."""
    job = load_manifest(manifest)
    check_runtime()
    arguments = runtime_arguments(manifest, store=store or default_store(job, manifest), config_maps=configmap or [])
    event = ask_runtime([*arguments, "--preview"], answer=PreviewEvent, as_json=as_json)
    if as_json:
        print_json(event.to_values())
    else:
        _show(event)


def _show(event: PreviewEvent) -> None:
    """Print the records of a preview with their loss mask, the prompts of other splits, and notes."""
    from rich.markup import escape
    from rich.text import Text

    from kubedistill.cli.terminal import Terminal

    console = Terminal()
    reason = escape(event.objective_reason)
    console.print(f"[dim]objective[/] {event.objective} [dim]({reason})[/]", soft_wrap=True)
    for record in event.records:
        text = Text()
        for piece in record.pieces:
            if not piece.scored:
                text.append(piece.text, style="dim")
            elif console.is_terminal:
                text.append(piece.text, style="bold magenta" if piece.end else "bold green underline")
            else:
                text.append(f"[[{piece.text}]]")
        console.print(f"\n[bold]{escape(record.id)}[/] [dim]{record.tokens} tokens[/]")
        console.print(text, soft_wrap=True)
    for split, asked in event.asked.items():
        references = " or ".join(repr(one) for one in asked.references) or "nothing, since there is no reference"
        console.print(f"\n[bold]{escape(asked.id)}[/] [dim]{split} prompt, compared with {escape(references)}[/]")
        console.print(Text(asked.prompt, style="dim"), soft_wrap=True)
    for note in event.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    marks = "underlined; the end token is magenta" if console.is_terminal else "in [[ ]]"
    console.print(f"\nThe loss is computed on the text that is {marks}.", style="dim", markup=False)
