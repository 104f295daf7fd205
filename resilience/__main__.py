"""``python -m resilience``: the ``resilience`` command where scripts are not on the path, as in slim containers."""

from resilience.cli import main

main()
