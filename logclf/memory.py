"""Template → verdict: what the model, the LLM and people said, remembered within a fixed budget of bytes.

Two generations: new entries go to the young one; when it is full it becomes the old one and the old one is forgotten,
all at once. An entry that is found in the old generation moves to the young one, so what keeps coming stays, and a
flood of lines never seen before costs time but never memory.
"""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_BUDGET = 24 << 20
OVERHEAD = 160  # bytes of an entry beside its key: the key's object header, the slot, the number


class Memory:
    """Verdict codes by key. `budget` bounds the bytes of both generations together."""

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._half = budget // 2
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}
        self._used = 0

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def find(self, keys: Sequence[bytes]) -> list[int | None]:
        """The code of each key, None where it is not known."""
        found: list[int | None] = list(map(self._young.get, keys))
        if self._old and None in found:
            for index, code in enumerate(found):
                if code is None and (old := self._old.get(keys[index])) is not None:
                    found[index] = old
                    self.remember(keys[index], old)
        return found

    def remember(self, key: bytes, code: int) -> None:
        """Remember a code, or change the one that is remembered."""
        if key not in self._young:
            self._used += len(key) + OVERHEAD
            if self._used > self._half:
                self._old, self._young = self._young, {}
                self._used = len(key) + OVERHEAD
        self._young[key] = code

    def clear(self) -> None:
        """Forget everything, as after a change of model or rules."""
        self._young, self._old, self._used = {}, {}, 0
