"""The append-only record of a run, its run folder and the wire format of events."""
