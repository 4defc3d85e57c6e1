"""When not to call: a circuit breaker for a server that fails, and a budget of calls in any hour.

Neither is thread-safe by itself; the worker holds its lock around them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

Clock = Callable[[], float]  # seconds that only ever grow
State = Literal["closed", "open", "half_open"]

FAILURES = 5  # in a row
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds
HOUR = 3600.0


class Breaker:
    """Opens after some failures in a row. After a pause one call may try (half open): where it succeeds everything is
    as before, else the pause begins again, twice as long, up to a longest."""

    def __init__(
        self, clock: Clock, failures: int = FAILURES, pause: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE
    ) -> None:
        self._clock, self._most, self._first, self._longest = clock, failures, pause, longest
        self._failed, self._pause, self._until = 0, pause, 0.0
        self.state: State = "closed"

    def admits(self) -> bool:
        """Whether one more call may be made; a yes to a breaker that is open makes it half open."""
        if self.state == "open" and self._clock() >= self._until:
            self.state = "half_open"
            return True
        return self.state == "closed"

    def succeeded(self) -> None:
        """The server answered."""
        self.state, self._failed, self._pause = "closed", 0, self._first

    def failed(self) -> bool:
        """The server failed; whether this opens the breaker."""
        self._failed += 1
        if self.state == "half_open":
            self._pause = min(self._pause * 2, self._longest)
        elif self.state == "open" or self._failed < self._most:
            return False
        self.state, self._until = "open", self._clock() + self._pause
        return True

    def not_called(self) -> None:
        """The call that was to try it was not made after all: the next one may."""
        if self.state == "half_open":
            self.state = "open"


class Budget:
    """At most `most` calls in any hour."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._calls: deque[float] = deque()

    @property
    def left(self) -> int:
        """Calls that may be made now."""
        hour_ago = self._clock() - HOUR
        while self._calls and self._calls[0] <= hour_ago:
            self._calls.popleft()
        return self._most - len(self._calls)

    def spend(self) -> bool:
        """Count a call; False where there is none left."""
        if self.left <= 0:
            return False
        self._calls.append(self._clock())
        return True
