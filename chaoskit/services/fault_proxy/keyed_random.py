"""Random decisions that depend on a seed and a key, never on the order in which connections race.

Each key (link, client, direction, toxic, purpose) has a sequence of its own: the n-th decision for
a key is a function of the seed, the key and n alone.
"""

import hashlib
import random


class KeyedRandom:
    """The sequence of one key."""

    __slots__ = ("_next",)

    def __init__(self, seed: int, *key: str) -> None:
        """Start the sequence of `key` under `seed`.

        Python promises the sequence of `random()` for an integer seed across versions, so only
        that method is used.
        """
        text = "\x00".join((str(seed), *key))
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        self._next = random.Random(int.from_bytes(digest, "big")).random

    def chance(self, probability: float) -> bool:
        """Decide with `probability`: 1 is always, 0 never."""
        return self._next() < probability

    def below(self, bound: int) -> int:
        """Return a whole number in [0, bound), each equally likely."""
        return int(self._next() * bound)
