"""``python -m benchmarks scoreboard``; the other benchmarks are scripts of their own, see README.md."""

from __future__ import annotations

import sys

from benchmarks.scoreboard.command import main

if __name__ == "__main__":
    if sys.argv[1:2] != ["scoreboard"]:
        sys.exit("python -m benchmarks scoreboard [--help]")
    sys.exit(main(sys.argv[2:]))
