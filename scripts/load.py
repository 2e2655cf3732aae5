"""Uploads and searches at once against a running service; prints latencies, errors and the server's memory.

Why: bulk work must not make a search wait, and memory must be flat after warm-up. Standard library only, so that it
runs beside any installation: `python -m scripts.load --url http://127.0.0.1:8080 --pid PID`.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, urlsplit


class Client:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=120)

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body of one request."""
        self.connection.request(method, path, body, {"content-type": kind} if body is not None else {})
        response = self.connection.getresponse()
        return response.status, response.read()


class Figures:
    """Latencies in milliseconds and statuses, by kind of request; shared by all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.times: dict[str, list[float]] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()

    def record(self, kind: str, status: int, started: float) -> None:
        """One answered request."""
        took = 1000 * (time.perf_counter() - started)
        with self.lock:
            self.times.setdefault(kind, []).append(took)
            self.statuses[kind, status] += 1


def percentile(values: list[float], share: float) -> float:
    """Nearest rank; `share` 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def resident_mib(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def spread(work: list[int], threads: int, each: str, url: str, run: object) -> list[threading.Thread]:
    """Starts `threads` connections that share `work`."""
    remaining, lock = iter(work), threading.Lock()

    def loop() -> None:
        client = Client(url)
        while True:
            with lock:
                item = next(remaining, None)
            if item is None:
                return
            run(client, item)  # type: ignore[operator]

    started = [threading.Thread(target=loop, name=f"{each}-{n}") for n in range(threads)]
    for thread in started:
        thread.start()
    return started


def measure(args: argparse.Namespace, photos: list[bytes], figures: Figures, offset: int) -> None:
    """One round: uploads and searches together, each on its own connections."""

    def upload(client: Client, n: int) -> None:
        product = f"load-{offset + n}"
        client.call("PUT", f"/v1/products/{product}", json.dumps({"title": product, "price": n + 0.5}).encode())
        started = time.perf_counter()
        body = photos[(offset + n) % len(photos)]
        status, _ = client.call("PUT", f"/v1/products/{product}/images/front", body, "application/octet-stream")
        figures.record("upload", status, started)

    known = [item["product_id"] for item in json.loads(Client(args.url).call("GET", "/v1/products?limit=200")[1])["items"]]
    targets = [product for product, _ in zip(itertools.cycle(known), range(args.searches), strict=False)]

    def search(client: Client, n: int) -> None:
        started = time.perf_counter()
        status, _ = client.call("GET", f"/v1/products/{quote(targets[n], safe='')}/similar?limit=20")
        figures.record("search", status, started)

    threads = spread(list(range(args.uploads)), args.connections // 2, "upload", args.url, upload)
    threads += spread(list(range(args.searches)), args.connections // 2, "search", args.url, search)
    for thread in threads:
        thread.join()


def main() -> None:
    """Runs the rounds and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--photos", type=Path, default=Path("testdata/photos"))
    parser.add_argument("--pid", type=int, help="process of the server, for its memory")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8, help="half upload, half search")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(args.photos.rglob("*.jpg"))]
    if not photos:
        raise SystemExit(f"no .jpg below {args.photos}")
    for number in range(args.rounds):
        figures = Figures()
        started = time.perf_counter()
        measure(args, photos, figures, number * args.uploads)
        took = time.perf_counter() - started
        errors = sum(count for (_, status), count in figures.statuses.items() if status >= 400)
        row = [f"round {number + 1}: {took:.1f} s, {errors} errors"]
        for kind, times in sorted(figures.times.items()):
            row.append(f"{kind} n {len(times)}, p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms")
        if args.pid:
            row.append(f"resident {resident_mib(args.pid):.0f} MiB")
        print("; ".join(row), flush=True)


if __name__ == "__main__":
    main()
