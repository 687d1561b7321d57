"""The phases, schedule, abort and rollback of a run as events: no I/O, no clock of its own."""
