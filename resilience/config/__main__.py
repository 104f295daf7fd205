"""``python -m resilience.config``: print the JSON Schema of configuration files."""

import sys

from resilience.config.schema import schema_text

sys.stdout.write(schema_text())
