"""One file a check kind: the history of a run to a verdict."""
