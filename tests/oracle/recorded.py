"""What the product says of a finished run: its folder, read by the formats alone."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracle.decoder import SLOT_S

Json = dict[str, Any]
Mask = NDArray[np.bool_]

ABSENT, UNJUDGED, HOWL, CONCEALED = 255, 128, 192, 64
INTERRUPTION_SLOTS = 8
"""150 ms and more."""
BOOKS = ("heard", "silent", "howl", "unjudged")


@dataclass(frozen=True, slots=True)
class Gap:
    """Slots first..end-1 of run time in which nobody planned was heard."""

    first: int
    end: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.first) * SLOT_S

    def __str__(self) -> str:
        """Begin and length, for messages."""
        return f"{self.first * SLOT_S:.2f} s + {self.seconds:.2f} s"


def gaps(missed: Mask, *, at_least: int = INTERRUPTION_SLOTS) -> list[Gap]:
    """Return the maximal runs of True of at least that many slots."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], missed, [False])).astype(np.int8)))
    return [Gap(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= at_least]


@dataclass(frozen=True)
class Recorded:
    """A run folder. Slots are 20 ms of run time from the origin that the facts name."""

    folder: Path

    # --- files ---

    @cached_property
    def result(self) -> Json:
        """result.json."""
        return self._json("result.json")

    @cached_property
    def plan(self) -> Json:
        """plan.json: the experiment as it was run."""
        plan: Json = self._json("plan.json")["experiment"]
        return plan

    @cached_property
    def journal(self) -> list[Json]:
        """All lines of journal.jsonl."""
        return _lines(self.folder / "journal.jsonl")

    @cached_property
    def facts(self) -> dict[str, list[Json]]:
        """All facts by shard."""
        files = sorted(self.folder.glob("facts-*.jsonl"))
        return {file.stem.removeprefix("facts-"): _lines(file) for file in files}

    def _json(self, name: str) -> Json:
        value: Json = json.loads((self.folder / name).read_text())
        return value

    # --- who ---

    def members(self, role: str) -> list[int]:
        """Return the numbers of all participants of a role."""
        return [
            k
            for group in self.plan["crowd"]["groups"]
            if group["role"] == role
            for k in range(group["first"], group["first"] + group["count"])
        ]

    @property
    def participants(self) -> list[int]:
        """Numbers of everybody who is planned, the canary's included."""
        return [k for role in self.roles for k in self.members(role)]

    @property
    def roles(self) -> list[str]:
        """Roles of the crowd, each once."""
        return list(dict.fromkeys(group["role"] for group in self.plan["crowd"]["groups"]))

    @property
    def present(self) -> list[int]:
        """Numbers of those who are in from the start: all but the canary, which comes later."""
        return [k for role in self.roles if role != "canary" for k in self.members(role)]

    def shard_of(self, participant: int) -> str:
        """Return the shard that owns a participant."""
        for shard, facts in self.facts.items():
            if participant in facts[0]["participants"]:
                return shard
        raise AssertionError(f"no shard owns participant {participant}")

    def of(self, participant: int, kind: str) -> list[Json]:
        """Return the facts of one kind about one participant."""
        facts = self.facts[self.shard_of(participant)]
        return [f for f in facts if f["k"] == kind and f["p"] == participant]

    # --- when ---

    @cached_property
    def origin_s(self) -> float:
        """CLOCK_MONOTONIC stamp of run time 0."""
        origins = {facts[0]["origin_s"] for facts in self.facts.values()}
        assert len(origins) == 1, f"the shards disagree about the origin: {origins}"
        return float(origins.pop())

    def run_s(self, monotonic_s: float) -> float:
        """Return the run time of a monotonic stamp."""
        return monotonic_s - self.origin_s

    def judged_slot(self, shard: str) -> int:
        """Return up to which slot (exclusive) a shard judged its ears."""
        return max((int(f["s"]) for f in self.facts[shard] if f["k"] == "mark"), default=0)

    @cached_property
    def slots(self) -> int:
        """Slots of the run: to its end, but not beyond what any shard that ended well judged."""
        ended = [s for s, facts in self.facts.items() if facts[-1]["k"] == "stopped"]
        judged = max(self.judged_slot(s) for s in ended or self.facts)
        over = [float(line["at_s"]) for line in self.journal if line.get("type") == "run_ended"]
        return min([judged, *(round(at_s / SLOT_S) for at_s in over)])

    def event_s(self, kind: str, **values: object) -> float:
        """Return the run time of the first journal line of a kind with these values."""
        for line in self.journal:
            if line.get("type") == kind and values.items() <= line.items():
                return float(line["at_s"])
        raise AssertionError(f"no {kind} {values} in {self.folder}/journal.jsonl")

    # --- what ---

    def codes(self, participant: int) -> NDArray[np.uint8]:
        """Return the ear codes of a participant by slot, rebuilt from its `ear` facts."""
        row = np.full(self.slots, ABSENT, dtype=np.uint8)
        for fact in self.of(participant, "ear"):
            row[max(0, fact["s"]) :] = fact["c"]
        row[self.judged_slot(self.shard_of(participant)) :] = UNJUDGED
        return row

    @cached_property
    def planned(self) -> NDArray[np.uint8]:
        """Voice bits that the programme puts at every listener's ear, by slot."""
        delay_s = float(self.result["harness"]["ear_delay_s"])
        bands = {g["name"]: g["speaker"] for g in self.plan["crowd"]["groups"]}
        bits = np.zeros(self.slots, dtype=np.uint8)
        for segment in self.plan["programme"]:
            first, end = (
                self.slot_from(float(segment[edge]) + delay_s) for edge in ("from_s", "until_s")
            )
            for speaker in segment["speakers"]:
                if bands[speaker] is not None:
                    bits[first:end] |= 1 << bands[speaker]
        return bits

    def slot_from(self, run_s: float) -> int:
        """Return the first slot that begins at `run_s` or later, within the run."""
        if math.isinf(run_s):
            return self.slots
        return min(self.slots, max(0, math.ceil(run_s / SLOT_S - 1e-6)))

    def first_attempt_s(self, participant: int) -> float:
        """Return the run time of a participant's first join attempt, inf when it made none."""
        attempts = self.of(participant, "attempt")
        return self.run_s(float(attempts[0]["t"])) if attempts else math.inf

    def due(self, participant: int) -> Mask:
        """Return the slots in which somebody is planned, from the first attempt to the leaving."""
        due: Mask = self.planned != 0
        due[: self.slot_from(self.first_attempt_s(participant))] = False
        for fact in self.of(participant, "left"):
            if fact["why"] == "end":
                due[self.slot_from(self.run_s(fact["t"])) :] = False
        return due

    def told_gaps(self, participant: int, *, at_least: int = INTERRUPTION_SLOTS) -> list[Gap]:
        """Return the gaps of a participant as its ear codes have them; unjudged slots are none."""
        codes = self.codes(participant)
        hears = (codes < CONCEALED) & (codes & self.planned != 0)
        return gaps(self.due(participant) & (codes != UNJUDGED) & ~hears, at_least=at_least)

    def books(self) -> dict[int, Json]:
        """Return the product's own books by listener, in frames."""
        return {row["participant"]: row for row in self.result["books"]}


def sort_codes(codes: NDArray[np.uint8], planned: NDArray[np.uint8], due: Mask) -> dict[str, int]:
    """Return how many due slots were heard, silent, howl and unjudged."""
    unjudged, howl = due & (codes == UNJUDGED), due & (codes == HOWL)
    heard = due & (codes < CONCEALED) & (codes & planned != 0)
    silent = due & ~(unjudged | howl | heard)
    counts: Sequence[Mask] = (heard, silent, howl, unjudged)
    return {name: int(mask.sum()) for name, mask in zip(BOOKS, counts, strict=True)}


def _lines(file: Path) -> list[Json]:
    # A process that was killed may leave half a line.
    text = file.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in text if line.endswith("\n")]
