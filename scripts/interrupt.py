"""Notices that the machine is about to be taken away, so that training ends with a checkpoint.

Two ways: SIGTERM, and the notice that clouds put on their metadata endpoint some time before (AWS two minutes, Azure and
Google 30 seconds), which is polled because no signal comes with it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

#: What a stopped run ends with: come again, nothing is wrong (EX_TEMPFAIL of sysexits.h).
STOPPED = 75
CLOUDS = ("none", "aws", "gcp", "azure")
_LINK_LOCAL = "http://169.254.169.254"


def fetch(url: str, headers: dict[str, str], method: str = "GET", timeout_s: float = 1.0) -> str | None:
    """The body of a response with status 200, else None; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=timeout_s) as response:
            body: bytes = response.read(65_536)
            return body.decode("utf-8", "replace") if response.status == 200 else None
    except (OSError, ValueError):
        return None


def aws(base: str) -> bool:
    """An interruption or a rebalance is announced (instance metadata service, version 2: with a token)."""
    token = fetch(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    headers = {"X-aws-ec2-metadata-token": token} if token else {}
    return fetch(f"{base}/latest/meta-data/spot/instance-action", headers) is not None


def gcp(base: str) -> bool:
    """The instance is being preempted."""
    said = fetch(f"{base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return said is not None and said.strip().upper() == "TRUE"


def azure(base: str) -> bool:
    """A `Preempt` or `Terminate` event is scheduled."""
    said = fetch(f"{base}/metadata/scheduledevents?api-version=2020-07-01", {"Metadata": "true"})
    try:
        events = json.loads(said or "{}").get("Events", [])
        return any(event.get("EventType") in ("Preempt", "Terminate") for event in events)
    except (ValueError, AttributeError, TypeError):
        return False


_ASK: dict[str, tuple[str, Callable[[str], bool]]] = {
    "aws": (_LINK_LOCAL, aws), "gcp": ("http://metadata.google.internal", gcp), "azure": (_LINK_LOCAL, azure),
}  # fmt: skip


class Interrupt:
    """`asked` once a stop was signalled or announced. Use as a context: handler and polling end with it."""

    def __init__(self, cloud: str = "none", every_s: float = 5.0, base: str | None = None) -> None:
        self._stop, self._done = threading.Event(), threading.Event()
        self.reason = ""
        self._thread: threading.Thread | None = None
        if cloud != "none":
            where, ask = _ASK[cloud]
            url = base or os.environ.get("VITRINE_METADATA_URL", where)
            self._thread = threading.Thread(target=self._poll, args=(ask, url, every_s, cloud), daemon=True)

    @property
    def asked(self) -> bool:
        """A stop was asked for."""
        return self._stop.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for it; true when it was."""
        return self._stop.wait(timeout_s)

    def _poll(self, ask: Callable[[str], bool], url: str, every_s: float, cloud: str) -> None:
        while not self._done.is_set() and not self._stop.is_set():
            if ask(url):
                self._set(f"notice of {cloud}")
            self._done.wait(every_s)

    def _set(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._stop.set()

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGTERM, lambda *_: self._set("SIGTERM"))
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
        self._done.set()
        if self._thread:
            self._thread.join(timeout=10)
