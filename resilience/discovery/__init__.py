"""Floor 1: name → replicas, kept fresh."""
