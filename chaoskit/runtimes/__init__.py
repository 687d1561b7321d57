"""Start and stop a stack: one class a file, one file a way of running services."""
