"""The scoreboard: the same load and the same fault for every alternative."""
