"""What keeps coming is remembered, what came once is forgotten, and the budget in bytes holds."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.memory import OVERHEAD, Memory


def size(memory: Memory) -> int:
    """Bytes by the memory's own measure."""
    return sum(len(key) + OVERHEAD for generation in (memory._young, memory._old) for key in generation)


def test_found_and_changed() -> None:
    memory = Memory()
    memory.remember(b"a", 1)
    memory.remember(b"b", 0)
    assert memory.find([b"a", b"b", b"c", b"a"]) == [1, 0, None, 1]
    memory.remember(b"a", 2)
    assert memory.find([b"a"]) == [2]
    assert len(memory) == 2
    memory.clear()
    assert memory.find([b"a"]) == [None]
    assert len(memory) == 0


def test_what_keeps_coming_survives_a_flood() -> None:
    memory = Memory(20_000)
    memory.remember(b"regular", 7)
    for number in range(5_000):
        memory.remember(b"flood %d" % number, 1)
        if number % 20 == 0:
            assert memory.find([b"regular"]) == [7]
    assert memory.find([b"flood 0"]) == [None]


def test_a_change_in_the_young_generation_beats_the_old() -> None:
    memory = Memory(4 * (OVERHEAD + 1))
    memory.remember(b"a", 1)
    memory.remember(b"b", 1)
    memory.remember(b"c", 1)  # a and b are the old generation now
    memory.remember(b"a", 2)
    assert memory.find([b"a", b"b", b"c"])[0] == 2
    assert len(memory) == 3


@settings(max_examples=150, deadline=None)
@given(
    budget=st.integers(2 * (OVERHEAD + 8), 8 * OVERHEAD),
    steps=st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=2), max_size=6)), max_size=60),
)
def test_never_wrong_and_never_over_budget(budget: int, steps: list[tuple[bool, list[bytes]]]) -> None:
    """Against a plain dictionary: an answer is the last one remembered, or none."""
    memory, model = Memory(budget), {}
    for store, keys in steps:
        if store:
            for key in keys:
                model[key] = len(model)
                memory.remember(key, model[key])
                assert memory.find([key]) == [model[key]]
        else:
            for key, code in zip(keys, memory.find(keys), strict=True):
                assert code is None or code == model[key]
        assert size(memory) <= budget


FLOOD = """
import sys
from logclf.memory import Memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
memory = Memory(24 << 20)
before = resident()
high = []
for million in range(5):
    for start in range(0, 1_000_000, 10_000):
        keys = [b"a line never seen before: %d.%d" % (million, n) for n in range(start, start + 10_000)]
        assert memory.find(keys[:1]) == [None]
        for key in keys:
            memory.remember(key, 8)
    high.append(resident() - before)
print(*high)
"""


def test_five_million_novel_keys_take_no_more_than_the_budget() -> None:
    done = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, text=True, check=True, timeout=100)
    high = [int(word) for word in done.stdout.split()]
    assert max(high) < 36 << 20  # 24 MiB, and what a generation's table needs while it grows
    assert max(high[1:]) - min(high[1:]) < 8 << 20
