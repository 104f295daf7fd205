"""``resilience check FILE``: what is wrong with a configuration, what is doubtful about it, and where."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from resilience.core.errors import ConfigurationError

WRONG = 1
"""Exit code for a configuration that cannot be used, and with ``--strict`` for one that is doubtful."""


def check_file(
    file: Annotated[Path, typer.Argument(help="A .toml or .json file with services and pipelines.")],
    strict: Annotated[bool, typer.Option(help="Exit code 1 for warnings, too.")] = False,  # noqa: FBT002 - an option
    environment: Annotated[bool, typer.Option(help="Look at RESILIENCE__… variables as well.")] = False,  # noqa: FBT002
) -> None:
    """Say what is wrong with a configuration file, and every warning about it, with its line."""
    try:
        from resilience.config import doubts_of, load  # noqa: PLC0415 - needs an extra of its own
    except ModuleNotFoundError as error:
        typer.echo(f"resilience check: {error}", err=True)
        raise typer.Exit(WRONG) from error
    try:
        configuration = load(file, environment=os.environ if environment else None)
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(WRONG) from error
    warnings = doubts_of(configuration)
    for warning in warnings:
        typer.echo(str(warning))
    services, pipelines = len(configuration.services), len(configuration.pipelines)
    typer.echo(
        f"{file}: {_count(services, 'service')}, {_count(pipelines, 'pipeline')}, {_count(len(warnings), 'warning')}"
    )
    raise typer.Exit(WRONG if strict and warnings else 0)


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'s' * (number != 1)}"
