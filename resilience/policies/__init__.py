"""Floor 2: one pattern a file; its pure decision above, its filter below."""
