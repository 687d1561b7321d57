"""Incident record and replay map to an experiment; pace, fidelity and comparison."""
