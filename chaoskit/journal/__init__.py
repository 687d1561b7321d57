"""The record of a run: its folder, its append-only journal, what its crowd reported."""
