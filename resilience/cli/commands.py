"""The commands, as typer sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from resilience.cli.health import check

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What the library sees of a service, and what it would do."
)


@app.command()
def health(
    url: Annotated[str, typer.Argument()],
    timeout: Annotated[float, typer.Option(help="Seconds for everything together.")] = 1.0,
) -> None:
    """Exit with 0 when a GET of URL is answered with 200-399, else with 1."""
    healthy, line = check(url, timeout)
    typer.echo(f"{'healthy' if healthy else 'unhealthy'}: {line}")
    raise typer.Exit(0 if healthy else 1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the picture and the page go.")] = Path("out"),
    pace: Annotated[float, typer.Option(help="Below 1: shorter faults.", min=0.05, max=10)] = 1.0,
) -> None:
    """Show the same load through plain httpx and through resilience, while servers fail."""
    from resilience.cli.demo.show import show  # noqa: PLC0415 - matplotlib takes its time

    raise typer.Exit(show(pace=pace, out=out, console=Console()))
