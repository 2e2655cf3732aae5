"""The receiver of webhooks: signed by the library of the specification, stored once, on disk before it answers."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

standardwebhooks = pytest.importorskip("standardwebhooks", reason="needs standardwebhooks: pip install standardwebhooks")

from scripts.consumers import webhook  # noqa: E402

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "urn:uuid:x",
    "type": "vitrine.product_upserted.v1",
    "data": {"title": "Mäntel\u2028"},
}


def signed(delivery: str, body: bytes, secret: str = SECRET, late_s: float = 0) -> list[tuple[str, str]]:
    """Headers of a delivery."""
    when = datetime.now(UTC) - timedelta(seconds=late_s)
    signature = standardwebhooks.Webhook(secret).sign(delivery, when, body.decode())
    return [("webhook-id", delivery), ("webhook-timestamp", str(int(when.timestamp()))), ("webhook-signature", signature)]


def deliver(port: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest("POST", "/vitrine")
        sent = [("content-length", length or str(len(body))), ("content-type", "application/cloudevents+json")]
        for name, value in headers + [pair for pair in sent if length != ""]:
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status


def stored(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]]


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Callable[..., int]]:
    server = webhook.server("127.0.0.1", 0, SECRET, tmp_path / "events.ndjson")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda *args, **named: deliver(server.server_port, *args, **named)
    server.shutdown()
    server.server_close()


def test_a_signed_event_is_stored_once(receive: Callable[..., int], tmp_path: Path) -> None:
    out, body = tmp_path / "events.ndjson", json.dumps(EVENT, ensure_ascii=False, indent=1).encode()
    assert [receive(signed("msg_1", body), body) for _ in range(2)] == [204, 204]
    assert stored(out) == [{**EVENT, "webhookid": "msg_1"}]
    # The same event in another delivery is another line: receivers that want it once go by source and id.
    headers = signed("msg_2", body)
    # While secrets are changed, one signature for each.
    headers[2] = ("webhook-signature", signed("msg_2", body, OTHER)[2][1] + " v2,x " + headers[2][1])
    assert receive(headers, body) == 204
    threads = [threading.Thread(target=receive, args=(signed(f"msg_{n % 5}", body), body)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event["webhookid"] for event in stored(out)) == [f"msg_{n}" for n in range(5)]


def test_what_is_not_signed_is_not_stored(receive: Callable[..., int], tmp_path: Path) -> None:
    body = json.dumps(EVENT).encode()
    good = signed("msg_1", body)
    bad = [
        [],
        good[:2],
        signed("msg_1", body, OTHER),
        signed("msg_1", body + b" "),
        signed("msg_1", body, late_s=600),
        signed("msg_1", body, late_s=-600),
        [("webhook-id", "msg_2"), *good[1:]],
        [*good[:2], ("webhook-signature", "v1")],
        [*good[:2], ("webhook-signature", "v1,!")],
        [*good[:2], ("webhook-signature", good[2][1].replace("v1,", "v2,"))],
        [good[0], ("webhook-timestamp", "nan"), good[2]],
    ]
    assert [receive(headers, body) for headers in bad] == [401] * len(bad)
    assert receive(signed("msg_1", b"{"), b"{") == 400
    assert receive(signed("msg_1", b"[]"), b"[]") == 400
    assert receive(good, b"", length="") == 411
    assert receive(good, b"", length="-1") == 411
    assert receive(good, b"", length=str(webhook.MAX_BODY + 1)) == 413
    assert receive(good, b"", length="9" * 5000) == 413
    assert (tmp_path / "events.ndjson").read_bytes() == b""
    # A second id in front would let a delivery in again.
    assert receive([("webhook-id", "msg_2"), *good], body) == 204
    assert [event["webhookid"] for event in stored(tmp_path / "events.ndjson")] == ["msg_1"]


def test_what_is_not_on_disk_is_not_acknowledged(
    receive: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, out = json.dumps(EVENT).encode(), tmp_path / "events.ndjson"

    def full(_: int) -> None:
        assert out.read_bytes().endswith(b'"msg_1"}\n'), "it is written before it is flushed"
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        assert receive(signed("msg_1", body), body) == 500
    assert out.read_bytes() == b""
    assert receive(signed("msg_1", body), body) == 204
    assert len(stored(out)) == 1


def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    secret, out, body = tmp_path / "secret", tmp_path / "events.ndjson", json.dumps(EVENT).encode()
    secret.write_text(SECRET + "\n")
    command = [sys.executable, "-m", "scripts.consumers.webhook", "--port", "0", "--secret-file", str(secret), "--out", str(out)]
    for n in range(3):
        with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            port = int(process.stdout.readline().rpartition(":")[2])
            # The delivery before comes again.
            for k in (n - 1, n):
                assert deliver(port, signed(f"msg_{k}", body), body) == 204
            with pytest.raises(SystemExit, match="another receiver"):
                webhook.Events(out)
            if n == 2:
                process.terminate()
                assert process.wait(10) == 0
            else:
                process.kill()
        # As when it is killed while it writes.
        with out.open("ab") as file:
            file.write(b'{"specversion": "1.')
    assert webhook.Events(out).seen == {f"msg_{n}" for n in range(-1, 3)}
    assert [event["webhookid"] for event in stored(out)] == [f"msg_{n}" for n in range(-1, 3)]


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "events.ndjson"
    for secret in ("", "x", "whsec_", "whsec_!"):
        with pytest.raises(Exception, match=r"whsec_|base64|padding|empty"):
            webhook.server("127.0.0.1", 0, secret, out)
    out.write_text('{"webhookid": "a"}\n{}\n')
    with pytest.raises(SystemExit, match="line 2"):
        webhook.Events(out)
