"""The receiver of webhooks beside the real service: either is killed, and every change comes, signed, once."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("standardwebhooks", reason="needs standardwebhooks: pip install standardwebhooks")

from scripts.tests.service import REPOSITORY, Service, until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRODUCTS = 30
# Seconds before what a receiver that is down did not take is sent again.
RETRY = ("--webhook-retry-s", "1", "--fetch-allow-hosts", "127.0.0.1")


class Receiver:
    """The example receiver on a port that stays the same."""

    def __init__(self, folder: Path) -> None:
        self.out, self.secret = folder / "events.ndjson", folder / "secret"
        self.secret.write_text(SECRET)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self) -> None:
        where = ["--port", str(self.port), "--secret-file", str(self.secret), "--out", str(self.out)]
        command = [sys.executable, "-m", "scripts.consumers.webhook", *where]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def events(self) -> list[dict[str, object]]:
        lines = self.out.read_bytes().split(b"\n")[:-1] if self.out.exists() else []
        return [json.loads(line) for line in lines]


def test_each_change_comes_once_whichever_side_is_killed(service: Service, tmp_path: Path) -> None:
    service.stop()
    service.start(*RETRY)
    receiver = Receiver(tmp_path)
    receiver.start()
    hook = {"url": f"http://127.0.0.1:{receiver.port}/vitrine", "secret": SECRET, "after": 0}
    assert service.call("POST", "/v1/webhooks", hook)[0] == 201
    written = 0

    def write(changes: int) -> None:
        nonlocal written
        for _ in range(changes):
            service.put(f"p{written % PRODUCTS}", title=str(written))
            written += 1

    write(200)
    receiver.kill()
    write(200)
    receiver.start()
    write(50)
    service.process.kill()
    service.process.wait()
    service.start(*RETRY)
    write(50)
    receiver.kill()
    service.process.kill()
    service.process.wait()
    service.start(*RETRY)
    write(50)
    receiver.start()
    until("all changes", lambda: len(receiver.events()) >= written)
    events = receiver.events()
    receiver.kill()
    # Each once, since the receiver knows again what comes again; those of a product in their order.
    assert sorted(int(str(event["id"])) for event in events) == list(range(1, written + 1))
    for product in range(PRODUCTS):
        seqs = [int(str(event["seq"])) for event in events if event["subject"] == f"p{product}"]
        assert seqs == sorted(seqs)
