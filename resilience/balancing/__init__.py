"""Floor 1: endpoints → one endpoint; one way of choosing a file. None of them blocks, waits or reads a clock."""
