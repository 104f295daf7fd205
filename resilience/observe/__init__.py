"""Floor 2: events become lines in the application's log."""
