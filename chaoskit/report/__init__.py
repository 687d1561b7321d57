"""Pure functions of a run record: timelines, terminal text, JSON."""
