"""Messages that cross a process border."""
