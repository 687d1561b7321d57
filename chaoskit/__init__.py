"""chaoskit: break a live audio room on purpose and measure whether people hear each other again."""

__version__ = "0.1.0"
