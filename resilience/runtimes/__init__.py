"""Floor 1: the only code that waits, races or reads a clock."""
