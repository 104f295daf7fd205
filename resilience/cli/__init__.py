"""Floor 5: the ``resilience`` command.

``health`` needs nothing beyond the library itself; the other commands need the extra ``cli`` (typer and rich),
``check`` the extra ``config``, and ``demo`` the extra ``lab``.
"""

from __future__ import annotations

import sys
from typing import NoReturn

_MISSING = """\
resilience: the module {name} is missing. Without it there is one command:

  resilience health URL    exit code 0 when a GET of URL is answered with 200-399, else 1

resolve, probe, check and demo need more: pip install 'httpx-resilience[cli,config,lab]'"""
_INTERRUPTED = 130
"""Exit code after Ctrl-C: that of the other commands, and of shells."""


def main() -> NoReturn:
    """Run the command line given in ``sys.argv``."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["health"]:
        from resilience.cli.health import run  # noqa: PLC0415 - a container's health check shall start fast

        try:
            sys.exit(run(arguments[1:]))
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
    try:
        from resilience.cli.commands import app  # noqa: PLC0415 - typer may not be installed
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"resilience", ""}:
            raise
        sys.exit(_MISSING.format(name=error.name))
    app(prog_name="resilience")
    sys.exit(0)
