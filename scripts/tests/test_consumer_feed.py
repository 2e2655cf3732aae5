"""What a consumer makes of the answers that a service, or what stands before it, may give."""

import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import ClassVar

import pytest

from scripts.consumers.feed import BeginAnew, Feed, FeedError, retry_after_s
from scripts.consumers.patience import GaveUp, Stop, Stopped

Answer = tuple[int, dict[str, str], object]
SOURCE = "urn:uuid:x"


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives the answers that are told, one after the other: status, headers, records or a problem."""

    protocol_version = "HTTP/1.1"
    told: ClassVar[list[Answer]] = []
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["authorization"]))
        status, headers, body = self.told.pop(0)
        lines = body if isinstance(body, list) else [body]
        sent = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
        self.send_response(status)
        for name, value in {"feed-source": SOURCE, "content-length": str(len(sent)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = "short" in headers

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def ask() -> Iterator[Callable[..., Feed]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Answers.asked.clear()

    def told(*answers: Answer, give_up_after_s: float = 30) -> Feed:
        Answers.told[:] = answers
        return Feed(f"http://127.0.0.1:{server.server_port}/shop/", "key", Stop(), give_up_after_s)

    yield told
    server.shutdown()


def page(after: int, *seqs: int) -> Answer:
    # A line separator is no end of a line of JSON.
    records = [{"seq": seq, "source": SOURCE, "title": "a\u2028b\x85"} for seq in seqs]
    return 200, {"feed-next-after": str(after)}, records


def test_it_comes_again_after_what_may_pass(ask: Callable[..., Feed], capsys: pytest.CaptureFixture[str]) -> None:
    feed = ask(
        (503, {"retry-after": "1"}, {"type": "/problems/starting", "detail": "opening"}),
        (429, {"retry-after": "1"}, {"type": "/problems/key-busy", "detail": "busy"}),
        (502, {}, "<html>a proxy's</html>"),
        (200, {"feed-next-after": "3", "content-length": "9999", "short": "1"}, []),
        page(3, 1, 3),
        page(3),
    )
    began = time.monotonic()
    got = feed.changes(0, 10, 0)
    assert time.monotonic() - began > 2, "the pauses were not kept"
    assert [record["seq"] for record in got.records] == [1, 3] and (got.after, got.source, got.cursor) == (3, SOURCE, None)
    said = capsys.readouterr().out
    assert all(part in said for part in ("503: opening; again in", "429: busy; again in", "502: Bad Gateway", "IncompleteRead"))
    assert feed.changes(3, 10, 7).records == []
    assert Answers.asked[-1] == ("/shop/v1/feed?after=3&limit=10&wait_s=7", "Bearer key")
    gone = ask((503, {"retry-after": "9"}, {}), give_up_after_s=2)
    with pytest.raises(GaveUp, match="after 1 attempts"):
        gone.changes(0, 10, 0)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        ((410, {}, {"type": "/problems/before-log", "detail": "gone"}), BeginAnew, "before-log: gone"),
        ((400, {}, {"type": "/problems/invalid-cursor", "detail": "no"}), BeginAnew, "invalid-cursor"),
        ((400, {}, {"type": "/problems/invalid-parameter", "detail": "no"}), FeedError, "400: no"),
        ((401, {}, {"type": "/problems/unauthorized", "detail": "expected a key"}), FeedError, "401: expected a key"),
        ((404, {}, "no problem"), FeedError, "404: Not Found"),
        ((200, {}, []), FeedError, "not a page of a feed"),
        ((200, {"feed-next-after": "1", "feed-source": "urn:uuid:y"}, [{"source": SOURCE}]), FeedError, "not of Feed-Source"),
        ((200, {"feed-next-after": "1"}, ["text"]), FeedError, "not a page of a feed"),
        (page(4, 4), FeedError, "out of order"),
        (page(6, 5, 5), FeedError, "out of order"),
        (page(5, 5, 6), FeedError, "out of order"),
    ],
)
def test_what_asking_again_does_not_help(ask: Callable[..., Feed], answer: Answer, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        ask(answer).changes(4, 10, 0)


def test_the_pause_that_is_asked_for() -> None:
    asked: dict[str | None, float] = {None: 0, "7": 7, "-7": 0, "soon": 0, "": 0}
    assert {value: retry_after_s(value) for value in asked} == asked
    assert 50 < retry_after_s(formatdate(time.time() + 60, usegmt=True)) < 61


def test_a_signal_breaks_off_a_wait_and_nothing_else() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(Stopped), stop.interruptible():
            pytest.fail("it went on")
    with Stop() as stop, pytest.raises(Stopped), stop.interruptible():
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(30)


def test_an_address_that_is_none() -> None:
    for url in ("127.0.0.1:8080", "ftp://x", "http://"):
        with pytest.raises(FeedError, match="--feed: expected"):
            Feed(url, None, Stop(), 1)
