"""``python -m scripts.consumers.webhook --port 9000 --secret-file F --out events.ndjson``: receives Vitrine's webhooks.

An example of a receiver, by the Standard Webhooks specification: checks the signature, stores the event, then answers 204.
Each line of the file is a CloudEvent, with the delivery's `webhook-id` as the extension attribute `webhookid`. It is on
disk before the answer, and a delivery that comes again is stored once, also after a crash or a restart.
Other answers: 401 wrong or old signature; 400 no CloudEvent; 411, 413 no length, too long; 500 not stored. After those the
sender comes again. For the internet put a proxy with TLS before it.
"""

from __future__ import annotations

import argparse
import fcntl
import http.server
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any, ClassVar

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

#: Longest body; an event with all of a product's images is far shorter.
MAX_BODY = 16 << 20
#: Longest silence of a sender, in seconds.
SILENCE_S = 30.0


class Events:
    """A file of events, one a line, each delivery once."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"{path}: another receiver writes to it") from None
        self.seen: set[str] = set()
        self.length = 0
        with open(self.file, "rb", closefd=False) as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    # Broken off by a crash: it was never acknowledged, and comes again.
                    break
                try:
                    self.seen.add(json.loads(line)["webhookid"])
                except (ValueError, KeyError, TypeError):
                    raise SystemExit(f"{path}, line {number}: expected an event with its webhookid") from None
                self.length += len(line)
        os.ftruncate(self.file, self.length)
        os.fsync(self.file)
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def store(self, delivery: str, event: dict[str, Any]) -> bool:
        """Puts an event on disk; false when the delivery is there already."""
        line = json.dumps({**event, "webhookid": delivery}, separators=(",", ":")).encode() + b"\n"
        with self.lock:
            if delivery in self.seen:
                return False
            try:
                written = 0
                while written < len(line):
                    written += os.pwrite(self.file, line[written:], self.length + written)
                os.fsync(self.file)
            except OSError:
                os.ftruncate(self.file, self.length)
                raise
            self.length += len(line)
            self.seen.add(delivery)
            return True


class Receiver(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version, timeout = "HTTP/1.1", SILENCE_S
    webhook: ClassVar[Webhook]
    events: ClassVar[Events]

    def do_POST(self) -> None:
        """Takes one delivery."""
        length = self.headers["content-length"] or ""
        if not (length.isascii() and length.isdigit()):
            return self._answer(411, "expected a content-length")
        if len(length) > 9 or int(length) > MAX_BODY:
            return self._answer(413, f"expected at most {MAX_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return self._answer(400, "the body broke off")
        # One of each name: what is verified must be what is used.
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            # The bytes as they came: it is them that are signed, not what they mean.
            self.webhook.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            return self._answer(401, str(error))
        try:
            event = json.loads(body)
        except ValueError as error:
            return self._answer(400, f"expected JSON: {error}")
        if not isinstance(event, dict) or "specversion" not in event:
            return self._answer(400, "expected one CloudEvent")
        try:
            self.events.store(headers["webhook-id"], event)
        except OSError as error:
            return self._answer(500, f"not stored: {error}")
        self._answer(204, "")

    def _answer(self, status: int, why: str) -> None:
        if why:
            self.log_error("%d: %s", status, why)
            # The body may not have been read to its end.
            self.close_connection = True
        self.send_response(status)
        if status != 204:
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(why.encode()) + 1))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if status != 204:
            self.wfile.write(why.encode() + b"\n")


class Server(http.server.ThreadingHTTPServer):
    """One thread a connection; many may come at once."""

    request_queue_size = 128


def server(host: str, port: int, secret: str, out: Path) -> Server:
    """Listens; port 0 takes a free one."""
    if not secret.startswith("whsec_"):
        raise ValueError("a secret begins with whsec_")
    own = type("Receiver", (Receiver,), {"webhook": Webhook(secret), "events": Events(out)})
    return Server((host, port), own)


def main() -> None:
    """Reads options and receives until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--secret-file", type=Path, required=True, help="whsec_..., as the service was given it")
    parser.add_argument("--out", type=Path, required=True, help="file of events, one a line; appended to")
    args = parser.parse_args()
    secret = args.secret_file.read_text(encoding="utf-8").strip()
    try:
        receiver = server(args.host, args.port, secret, args.out)
    except ValueError:
        raise SystemExit(f"{args.secret_file}: expected whsec_ and base64") from None
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=receiver.shutdown).start())
    print(f"listening on http://{args.host}:{receiver.server_port}", flush=True)
    receiver.serve_forever()


if __name__ == "__main__":
    main()
