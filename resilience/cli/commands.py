"""The commands, as typer sees them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resilience.cli import look
from resilience.cli.check import check_file
from resilience.cli.health import check
from resilience.core.errors import ResilienceError

if TYPE_CHECKING:
    import httpx

    from resilience.core.ports import Resolver
    from resilience.core.resolution import Resolution

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What the library sees of a service, and what it would do."
)
console = Console(highlight=False)
app.command(name="check")(check_file)

Nameserver = Annotated[list[str] | None, typer.Option(help="ADDRESS or ADDRESS:PORT; may be repeated. As Dns() asks.")]
Kind = Annotated[look.Record | None, typer.Option(help="As Dns(record=…) asks.")]
Within = Annotated[float, typer.Option(help="Seconds for each step.", min=0.01, max=600)]


@app.command()
def resolve(
    name: Annotated[str, typer.Argument(help="A host name, as it stands in a URL.")],
    port: Annotated[int, typer.Option(help="Of the service; SRV records bring their own.", min=1, max=65535)] = 80,
    nameserver: Nameserver = None,
    record: Kind = None,
    timeout: Within = 5.0,
) -> None:
    """Show what stands behind a name: addresses, where from, for how long; a fleet or one origin, and why."""
    try:
        how = look.resolver(nameserver or [], record)
        name = look.host(name)
        found = anyio.run(look.resolve, name, port, how, timeout)
    except ResilienceError as error:
        _fail(error)
    _show(name, found)


@app.command()
def probe(
    url: Annotated[str, typer.Argument(help="An absolute http or https URL.")],
    nameserver: Nameserver = None,
    record: Kind = None,
    timeout: Within = 2.0,
) -> None:
    """GET a URL from each address behind its name, then as a client would. Exit code 1 when an address is not well."""
    try:
        parsed = look.parse(url)
        how = look.resolver(nameserver or [], record)
        found = anyio.run(look.resolve, parsed.host, look.port_of(parsed), how, timeout)
    except ResilienceError as error:
        _fail(error)
    _show(parsed.host, found)
    raise typer.Exit(0 if anyio.run(_probe, parsed, found, how, timeout) else 1)


@app.command()
def health(
    url: Annotated[str, typer.Argument(help="An absolute http or https URL.")],
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
    try:
        from resilience.cli.demo.show import show  # noqa: PLC0415 - matplotlib takes its time
    except ModuleNotFoundError as error:
        typer.echo(f"resilience demo needs an extra, pip install 'httpx-resilience[cli,lab]': {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(show(pace=pace, out=out, console=Console()))


def _show(name: str, found: Resolution) -> None:
    kind = f"a fleet of {len(found.replicas)}" if found.fleet else "one origin"
    ttl = "for good" if math.isinf(found.ttl) else f"for {found.ttl:g} s"
    console.print(f"[bold]{escape(name)}[/] is taken for [bold]{kind}[/]: {escape(_reason(found))}", soft_wrap=True)
    console.print(f"source: {found.source}, good {ttl}")
    table = Table("address", "weight", "tier")
    for replica in found.replicas:
        table.add_row(str(replica.address), f"{replica.weight:g}", str(replica.tier))
    console.print(table)
    console.print("A client would")
    for line in look.intentions(found):
        console.print(f"  - {line}")


def _reason(found: Resolution) -> str:
    return found.why.partition(": ")[2] or found.why or "as told"


async def _probe(url: httpx.URL, found: Resolution, how: Resolver, timeout: float) -> bool:
    probes = [await look.probe(url, replica, timeout) for replica in found.replicas]
    title = f"GET {escape(look.shown(str(url)))}, once from each"
    table = Table("address", "answer", "took", "blames", "tries again", title=title)
    for each in probes:
        style = "green" if each.fine else "red"
        took, again = f"{each.seconds * 1000:.0f} ms", "yes" if each.verdict.retry else "no"
        blamed = {"good": "nobody", "bad": "the address", "unknown": "nobody"}[each.verdict.blame.value]
        table.add_row(str(each.replica.address), escape(each.answer), took, blamed, again, style=style)
    console.print(table)
    told, policies = await look.call(url, how, timeout)
    console.print(f"A client's own call: {escape(told)}\n\nThe policies in force:\n{escape(policies)}", soft_wrap=True)
    return all(each.fine for each in probes)


def _fail(error: ResilienceError) -> NoReturn:
    Console(stderr=True, highlight=False).print(f"[red]{type(error).__name__}[/]: {escape(str(error))}", soft_wrap=True)
    raise typer.Exit(1)
