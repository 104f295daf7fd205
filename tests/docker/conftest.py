"""An engine for all tests here; without one to be had, they say what is missing."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine import Engine, missing

CACHE = Path(os.environ.get("RESILIENCE_TEST_CACHE") or Path(sys.prefix) / "cache")
"""Where the base image is kept from run to run: in the virtual environment, unless told otherwise."""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A running engine, with the example's image in versions 1 and 2."""
    lack = missing()
    if lack:
        pytest.skip(lack)  # no engine can be had here: says which part is missing, and who installs it
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as with Ctrl-C: all is taken away
    made = Engine(Path(tempfile.mkdtemp(prefix="engine-")))  # not pytest's: it would tidy up under the engine
    try:
        made.start(apart=False)  # pip asks its index
        made.build(CACHE / "debian-python.tar")
        made.halt()
        made.start()
        yield made
    finally:
        made.stop()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where every replica notes the POSTs that it gets."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "posts").touch()
    for path in (folder, folder / "posts"):
        path.chmod(0o777)
    return folder
