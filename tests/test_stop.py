"""A stop is noticed at once, by a look, by a wait and by select, and signals are one."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from logclf.sources.stop import Stop


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def readable(stop: Stop) -> bool:
    return bool(select.select([stop.fd], [], [], 0)[0])


def test_unset_until_set_and_then_for_good() -> None:
    stop = Stop()
    assert (bool(stop), readable(stop), stop.signal, stop.wait(0)) == (False, False, None, False)
    stop.set()
    stop.set()
    assert (bool(stop), readable(stop), stop.signal, stop.wait(0)) == (True, True, None, True)


def test_a_wait_that_is_over_without_a_stop() -> None:
    assert Stop().wait(0.001) is False
    assert Stop().wait(-1) is False


def test_a_stop_ends_a_long_wait() -> None:
    stop = Stop()
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(stop.wait(60)))
    waiting.start()
    stop.set()
    waiting.join(10)
    assert answers == [True]
    assert stop.wait(60) is True, "and no later one begins"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops(number: signal.Signals) -> None:
    stop = Stop()
    stop.on_signals()
    os.kill(os.getpid(), number)
    assert stop.wait(10) is True
    assert stop.signal == number
    assert signal.getsignal(number) is signal.SIG_DFL, "a second one ends the process"


TWICE = """
import os, signal, sys
from logclf.sources.stop import Stop
stop = Stop()
stop.on_signals()
os.kill(os.getpid(), signal.Signals[sys.argv[1]])
stop.wait(10)
print("stopped", flush=True)
os.kill(os.getpid(), signal.Signals[sys.argv[1]])
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", TWICE, number.name], capture_output=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == (b"stopped\n", -number)
