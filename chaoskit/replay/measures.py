"""All measures of the fidelity table by name, with their parameters.

To add one: a function of a Scene and its parameters in `measures_rooms` or `measures_ears`, and a
line here. The map names measures as data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from chaoskit.model import Json
from chaoskit.replay import measures_ears as ears
from chaoskit.replay import measures_rooms as rooms
from chaoskit.replay.errors import ReplayError
from chaoskit.replay.scene import Measured, Params, Scene


class ParamKind(StrEnum):
    """How a map writes a parameter: one group, several, a moment, a share, a count, a word."""

    GROUP = "group"
    GROUPS = "groups"
    MOMENT = "moment"
    SHARE = "share"
    COUNT = "count"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure and its parameters; those in `needs` must be there."""

    measure: Callable[[Scene, Params], Measured]
    params: Mapping[str, ParamKind]
    needs: tuple[str, ...] = ()


_SPAN = {"after": ParamKind.MOMENT, "until": ParamKind.MOMENT}
_WHO = {"groups": ParamKind.GROUPS}
_SHARE = {"share": ParamKind.SHARE}
_VOICE = {"group": ParamKind.GROUP} | _SPAN | _SHARE

MEASURES: dict[str, Measure] = {
    "joined_by": Measure(rooms.joined_by, _WHO | _SHARE | {"by": ParamKind.MOMENT}, ("by",)),
    "peak_joined": Measure(rooms.peak_joined, _WHO | {"room": ParamKind.WORD}),
    "appeared": Measure(rooms.appeared, _WHO | _SPAN, ("groups",)),
    "vanished": Measure(rooms.vanished, _WHO | _SPAN, ("groups", "after")),
    "retries": Measure(
        rooms.retries, _WHO | _SPAN | {"times": ParamKind.COUNT}, ("groups", "after", "until")
    ),
    "room_opened": Measure(rooms.room_opened, {"account": ParamKind.WORD}),
    "lookup_of_fresh_room": Measure(rooms.lookup_of_fresh_room, _WHO | _SHARE),
    "retention": Measure(rooms.retention, _WHO | _SHARE | {"by": ParamKind.MOMENT}),
    "rejoined": Measure(rooms.rejoined, _WHO | {"with": ParamKind.GROUPS}, ("groups",)),
    "present": Measure(rooms.present, _WHO | {"at": ParamKind.MOMENT}, ("groups", "at")),
    "heard_span": Measure(ears.heard_span, _VOICE | {"steady": ParamKind.SHARE}, ("group",)),
    "private_source_heard": Measure(
        ears.private_source_heard, _VOICE | {"steady": ParamKind.SHARE}, ("group",)
    ),
    "silence_span": Measure(ears.silence_span, _SPAN | _SHARE),
    "first_word": Measure(ears.first_word, _VOICE | {"since": ParamKind.MOMENT}, ("group",)),
    "still_audible": Measure(ears.still_audible, _VOICE, ("group", "after")),
}


def check_params(name: str, params: Mapping[str, Json], where: tuple[str | int, ...]) -> None:
    """Raise ReplayError for an unknown measure, an unknown parameter or a missing one."""
    measure = MEASURES.get(name)
    if measure is None:
        raise ReplayError(f'unknown measure "{name}"', (*where, "measure", "kind"))
    for key in params:
        if key not in measure.params:
            raise ReplayError(f"measure {name} has no parameter {key}", (*where, "measure", key))
    for key in measure.needs:
        if key not in params:
            raise ReplayError(f"measure {name} needs {key}", (*where, "measure"))
