"""Errors that a user can meet, one class for each error exit code.

ChaosKitError            (never raised itself)
├── InvalidInput         exit 2   usage, or a file that does not parse or validate
├── PlanRefused          exit 3   blast radius, no match, no mechanism
├── EnvironmentMissing   exit 4   something this machine lacks or refuses
├── AdapterError         exit 4   a service answered with an error or not at all
└── RollbackIncomplete   exit 20  something that was injected could not be confirmed healed
"""

from typing import ClassVar


class ChaosKitError(Exception):
    """An error with a message for the user and, where there is one, a hint.

    The message says what failed, on what, and what was seen. The hint says what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep `message` (one or several lines) and the optional `hint` (one sentence)."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(ChaosKitError):
    """A command line or a file that cannot be used. Several findings stand one a line."""

    exit_code = 2


class PlanRefused(ChaosKitError):
    """A plan that is unsafe, matches nothing, or has no mechanism in this run."""

    exit_code = 3


class EnvironmentMissing(ChaosKitError):
    """The machine lacks something, or a service did not come up."""

    exit_code = 4


class AdapterError(ChaosKitError):
    """A service under our control refused a call, answered nonsense, or not in time."""

    exit_code = 4


class RollbackIncomplete(ChaosKitError):
    """An error left something injected that could not be confirmed healed; it outranks all."""

    exit_code = 20
