"""Notices of clouds, from a server that speaks their endpoints, and SIGTERM."""

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from scripts.interrupt import Interrupt, aws, azure, gcp


class Metadata(http.server.BaseHTTPRequestHandler):
    """Speaks for all three; `notice` says whether the machine is to go."""

    notice = False

    def do_PUT(self) -> None:
        self.answer("token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/latest/meta-data/spot/instance-action":
            allowed = self.headers["X-aws-ec2-metadata-token"] == "token"
            self.answer('{"action": "terminate"}' if allowed and self.notice else None)
        elif path == "/computeMetadata/v1/instance/preempted":
            self.answer(str(self.notice).upper() if self.headers["Metadata-Flavor"] == "Google" else None)
        elif path == "/metadata/scheduledevents":
            events = [{"EventType": "Preempt"}] if self.notice else [{"EventType": "Reboot"}]
            self.answer(json.dumps({"Events": events}) if self.headers["Metadata"] == "true" else None)
        else:
            self.answer(None)

    def answer(self, body: str | None) -> None:
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    Metadata.notice = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("ask", [aws, gcp, azure])
def test_a_notice_is_seen_and_nothing_else_is_one(metadata: str, ask: object) -> None:
    assert callable(ask)
    assert not ask(metadata)
    Metadata.notice = True
    assert ask(metadata)
    assert not ask("http://127.0.0.1:1")  # nobody there: no notice


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_the_notice_asks_for_a_stop(metadata: str, cloud: str) -> None:
    with Interrupt(cloud, every_s=0.01, base=metadata) as interrupt:
        assert not interrupt.asked
        Metadata.notice = True
        assert interrupt.wait(30)
        assert interrupt.reason == f"notice of {cloud}"


def test_sigterm_asks_for_a_stop_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.wait(30)
        assert interrupt.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before
