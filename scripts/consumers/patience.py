"""Waits of a consumer: again after what may pass, an end in order when it is told to stop."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator

#: Longest wait that a server can ask for with `Retry-After`, in seconds.
MAX_RETRY_AFTER_S = 120.0


class Stopped(Exception):
    """SIGTERM or SIGINT came."""


class GaveUp(Exception):
    """Nothing worked for as long as it may."""


class Stop:
    """`asked` once a stop was signalled. Use as a context: the handlers end with it."""

    def __init__(self) -> None:
        self.asked = False
        self._waiting = False

    def _signalled(self, *_: object) -> None:
        self.asked = True
        if self._waiting:
            raise Stopped

    def check(self) -> None:
        """Raises when a stop was asked for."""
        if self.asked:
            raise Stopped

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A signal breaks off what runs in here; elsewhere (in a transaction) it waits for the next check."""
        try:
            self._waiting = True
            self.check()
            yield
        finally:
            self._waiting = False

    def __enter__(self) -> Stop:
        self._before = [(number, signal.signal(number, self._signalled)) for number in (signal.SIGTERM, signal.SIGINT)]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)


class Backoff:
    """Waits that double from failure to failure, with jitter, so that many consumers do not come back at once."""

    def __init__(self, stop: Stop, give_up_after_s: float, first_s: float = 0.1, most_s: float = 30.0) -> None:
        self.stop, self.give_up_after_s, self.first_s, self.most_s = stop, give_up_after_s, first_s, most_s
        self.failures, self.failing_since = 0, 0.0

    def worked(self) -> None:
        """The next failure is a first one again."""
        self.failures = 0

    def wait(self, why: str, at_least_s: float = 0.0) -> None:
        """Waits after a failure; `at_least_s` is what the server asked for."""
        now = time.monotonic()
        if self.failures == 0:
            self.failing_since = now
        delay = min(self.most_s, self.first_s * 2 ** min(self.failures, 20)) * random.uniform(0.5, 1.0)
        delay += min(at_least_s, MAX_RETRY_AFTER_S)
        left = self.failing_since + self.give_up_after_s - now
        if delay > left:
            raise GaveUp(f"{why}; gave up after {self.failures + 1} attempts in {now - self.failing_since:.0f} s")
        self.failures += 1
        print(f"{why}; again in {delay:.1f} s", flush=True)
        with self.stop.interruptible():
            time.sleep(delay)
