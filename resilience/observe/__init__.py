"""Floor 3: events become lines in the application's log."""
