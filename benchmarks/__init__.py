"""Measurements of the real product, side by side on one machine. Not tests: nothing is asserted."""
