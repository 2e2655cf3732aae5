"""A real service of a test's own."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 180.0
# By product: metadata, attributes, corrections, sequence number, images in their order.
Copy = dict[str, tuple[Any, Any, Any, int, list[Any]]]


def until(what: str, holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Looks again until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.005)


def binary() -> Path:
    """The service's program; skips where it is not built."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "debug" / "vitrine"
    found = Path(os.environ.get("VITRINE_BIN", built))
    if not found.is_file():
        pytest.skip(f"{found} is missing: cargo build, or VITRINE_BIN")
    return found


class Service:
    """A service on a port that stays the same when it starts again."""

    def __init__(self, models: Path, data: Path) -> None:
        self.models, self.data, self.program = models, data, binary()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        where = ["--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.data), "--models-dir", str(self.models)]
        command, quiet = [str(self.program), "serve", *where, *options], subprocess.DEVNULL
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=quiet, stderr=quiet)
        until("the service", self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, "the service ended"
        with contextlib.suppress(OSError):
            return self.call("GET", "/health/ready")[0] == 200
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            photo = isinstance(body, bytes)
            sent = body if photo or body is None else json.dumps(body).encode()
            connection.request(method, path, sent, {"content-type": "image/jpeg" if photo else "application/json"})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def put(self, product: str, **metadata: object) -> None:
        assert self.call("PUT", f"/v1/products/{product}", metadata)[0] in (200, 201)

    def snapshot(self) -> Copy:
        """What the service says."""
        copy: Copy = {}
        cursor = ""
        while True:
            status, headers, body = self.call("GET", f"/v1/feed/snapshot?limit=1000{cursor}")
            assert status == 200
            for line in body.split(b"\n")[:-1]:
                record = json.loads(line)
                data = record["data"]
                parts = (data["metadata"], data["attributes"], data["corrections"], record["seq"], data["images"])
                copy[data["product_id"]] = parts
            if "feed-next-cursor" not in headers:
                return copy
            cursor = f"&cursor={quote(headers['feed-next-cursor'])}"

    def last(self) -> int:
        return int(json.loads(self.call("GET", "/health/ready")[2])["seq"])
