"""Searches and uploads while a model becomes live; says whether anything failed, waited or mixed versions.

Why: a change of model is when machine learning slows a shop down. Run against a server with photos in it and a second
bundle in its models folder: `python -m scripts.load_activation --url http://127.0.0.1:8080 --version VERSION`.
Checked in every answer: status, one version, never an older version after a newer one was seen, and that a stored photo
finds its own product with a score of 1 (an embedding compared within another version's index would not).
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from .load import Client, percentile


class Watch:
    """What was measured and what was wrong, by phase."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.phase = "before"
        self.times: dict[tuple[str, str], list[float]] = {}
        self.wrong: Counter[str] = Counter()
        self.versions: list[str] = []
        self.stop = False

    def note(self, kind: str, phase: str, took_ms: float) -> None:
        """One answer in time."""
        with self.lock:
            self.times.setdefault((kind, phase), []).append(took_ms)

    def fault(self, what: str) -> None:
        """One answer that is not as it must be."""
        with self.lock:
            self.wrong[what] += 1

    def seen(self, version: str, newest: int) -> None:
        """Versions come in one order only; `newest` is how many were known when the request was sent."""
        with self.lock:
            if version not in self.versions:
                self.versions.append(version)
            elif self.versions.index(version) < newest - 1:
                self.wrong["an older version after a newer one"] += 1


def timed(watch: Watch, client: Client, kind: str, method: str, path: str, body: bytes | None = None) -> dict[str, object]:
    """One request; its JSON where it was answered well."""
    phase, started = watch.phase, time.perf_counter()
    status, answer = client.call(method, path, body, "application/octet-stream")
    watch.note(kind, phase, 1000 * (time.perf_counter() - started))
    if status not in (200, 201):
        watch.fault(f"{kind}: status {status}")
        return {}
    found: dict[str, object] = json.loads(answer)
    return found


def searching(watch: Watch, url: str, products: list[str], pause_s: float) -> None:
    """Similar products of stored products, over and over."""
    client, n = Client(url), 0
    while not watch.stop:
        newest = len(watch.versions)
        page = timed(watch, client, "search", "GET", f"/v1/products/{quote(products[n % len(products)], safe='')}/similar")
        if page:
            watch.seen(str(page["model_version"]), newest)
            if not page["items"]:
                watch.fault("search: nothing found")
        n += 1
        time.sleep(pause_s)


def looking(watch: Watch, url: str, products: list[str], photos: dict[str, bytes]) -> None:
    """Similar products to a stored photo: it must find its own product, in whichever version."""
    client, n = Client(url), 0
    while not watch.stop:
        product = products[n % len(products)]
        newest = len(watch.versions)
        page = timed(watch, client, "photo", "POST", "/v1/similar?limit=5", photos[product])
        if page:
            watch.seen(str(page["model_version"]), newest)
            items = page["items"]
            assert isinstance(items, list)
            if not any(item["score"] > 0.9999 for item in items):
                watch.fault("photo: its own product is not found with a score of 1")
        n += 1


def uploading(watch: Watch, url: str, photos: list[bytes], name: str) -> None:
    """New products with a photo each; each must be found at once."""
    client, n = Client(url), 0
    while not watch.stop:
        product = f"activation-{name}-{n}"
        client.call("PUT", f"/v1/products/{product}", b"{}")
        timed(watch, client, "upload", "PUT", f"/v1/products/{product}/images/front", photos[n % len(photos)])
        page = timed(watch, client, "own", "GET", f"/v1/products/{product}/similar?limit=1")
        if page and not page["items"]:
            watch.fault("upload: not searchable when acknowledged")
        n += 1


def activate(url: str, version: str) -> float:
    """Orders it and waits until it is live; seconds that took."""
    client, started = Client(url), time.perf_counter()
    status, answer = client.call("POST", f"/v1/models/{quote(version, safe='')}/activate")
    if status not in (200, 202):
        raise SystemExit(f"activation refused: {status} {answer.decode()}")
    while True:
        models = json.loads(client.call("GET", "/v1/models")[1])["items"]
        state = next(m for m in models if m["version"] == version)
        if state["live"]:
            return time.perf_counter() - started
        if state.get("failure"):
            raise SystemExit(f"activation given up: {state['failure']}")
        time.sleep(0.2)


def main() -> None:
    """Load, activate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--version", required=True)
    parser.add_argument("--photos", type=Path, default=Path("testdata/photos"))
    parser.add_argument("--searchers", type=int, default=3)
    parser.add_argument("--uploaders", type=int, default=2)
    parser.add_argument("--pause-ms", type=float, default=10, help="between the searches of a connection")
    parser.add_argument("--seconds", type=float, default=20, help="of load before and after")
    args = parser.parse_args()
    client = Client(args.url)
    products = [p["product_id"] for p in json.loads(client.call("GET", "/v1/products?limit=100")[1])["items"] if p["images"]]
    if not products:
        raise SystemExit("the server has no product with an image")
    stored = {}
    for product in products:
        record = json.loads(client.call("GET", f"/v1/products/{quote(product, safe='')}")[1])
        image = quote(record["images"][0]["image_id"], safe="")
        stored[product] = client.call("GET", f"/v1/products/{quote(product, safe='')}/images/{image}")[1]
    own = [path.read_bytes() for path in sorted(args.photos.rglob("*.jpg"))]
    watch = Watch()
    search = (watch, args.url, products, args.pause_ms / 1000)
    threads = [threading.Thread(target=searching, args=search) for _ in range(args.searchers)]
    threads += [threading.Thread(target=looking, args=(watch, args.url, products, stored))]
    threads += [threading.Thread(target=uploading, args=(watch, args.url, own, str(n))) for n in range(args.uploaders)]
    for thread in threads:
        thread.start()
    time.sleep(args.seconds)
    watch.phase = "during"
    took = activate(args.url, args.version)
    watch.phase = "after"
    time.sleep(args.seconds)
    watch.stop = True
    for thread in threads:
        thread.join()
    print(f"live after {took:.1f} s; versions in order: {', '.join(watch.versions)}")
    for (kind, phase), times in sorted(watch.times.items()):
        print(f"{kind:7} {phase:7} n {len(times):6}, p50 {percentile(times, 0.5):7.1f} ms, p99 {percentile(times, 0.99):7.1f} ms")
    before, during = (percentile(watch.times["search", phase], 0.99) for phase in ("before", "during"))
    print(f"p99 of searches during: {during:.1f} ms; allowed {max(1.5 * before, before + 5):.1f} ms")
    print(f"wrong answers: {dict(watch.wrong) or 'none'}")
    raise SystemExit(bool(watch.wrong))


if __name__ == "__main__":
    main()
