"""The service and its Python peer in turn, on the same cores, photos and model: ratios with their spread.

    pip install -r scripts/bench/peer_python/requirements.txt
    python -m scripts.bench.compare PHOTOS --vitrine target/release/vitrine --rounds 3 --out figures.json

Each round starts each system on an empty folder, lets `vitrine bench` load it, and stops it. For searches among many
products both are filled beforehand, and then only searched:

    cargo bench --bench restart -- --dir OURS --rows 100000 --vectors FILE.f32
    python -m scripts.bench.peer_python.fill FILE.f32 PEER --rows 100000
    seq 0 99999 > ids && python -m scripts.bench.compare PHOTOS --filled OURS PEER --ids ids
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .peer_python import EFFORT

REPOSITORY = Path(__file__).resolve().parents[2]
#: Longest wait for a server to be ready.
READY_S = 120


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in task.read_text().split())
    return found


def memory(pid: int) -> float:
    """Megabytes of a process and all below it; what they share counts once."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1000


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server, and the seconds until it was ready."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            url = f"http://127.0.0.1:{port}/health/ready"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as response:
                if response.status == 200:
                    break
            if process.poll() is not None or time.perf_counter() - begun > READY_S:
                raise SystemExit(f"{command[0]} did not become ready")
            time.sleep(0.02)
        yield process, time.perf_counter() - begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Systems:
    """How each is started on a folder."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def command(self, name: str, data: Path, port: int) -> list[str]:
        """The server's command line."""
        if name == "vitrine":
            own = ["serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(data), "--log", "warn"]
            own += ["--search-candidates", str(EFFORT)]
            return [str(self.args.vitrine.resolve()), *own, *self.engine()]
        peer = [sys.executable, "-m", "scripts.bench.peer_python.app", "--port", str(port), "--data", str(data)]
        peer += ["--file", "model.int8.onnx" if self.args.precision == "int8" else "model.onnx"]
        return [*peer, *(["--reduced"] if name == "peer, reduced" else [])]

    def engine(self) -> list[str]:
        """The library that the peer imports, at the same precision; or the embedded engine."""
        if self.args.engine == "tract":
            return ["--engine", "tract"]
        found = importlib.util.find_spec("onnxruntime")
        library = next(Path(found.origin or "").parent.glob("capi/libonnxruntime.so*"), None) if found else None
        if library is None:
            raise SystemExit("onnxruntime is not installed here: pip install -r scripts/bench/peer_python/requirements.txt")
        return ["--engine", "onnxruntime", "--onnxruntime-lib", str(library), "--precision", self.args.precision]

    def load(self, name: str, data: Path, parts: str, *more: str) -> dict[str, Any]:
        """Starts one, measures `parts`, stops it."""
        port = free_port()
        with running(self.command(name, data, port), port) as (process, ready), tempfile.TemporaryDirectory() as folder:
            idle, figures = memory(process.pid), Path(folder) / "figures.json"
            bench = [str(self.args.vitrine.resolve()), "bench", str(self.args.photos), "--url", f"http://127.0.0.1:{port}"]
            bench += ["--parts", parts, "--rounds", "1", "--seconds", str(self.args.seconds), "--json", str(figures), *more]
            subprocess.run(bench, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            measured: dict[str, Any] = json.loads(figures.read_text())
            if measured["unexpected"]:
                raise SystemExit(f"{name} answered otherwise than it should: {measured['unexpected']}")
            return measured | {"ready_s": ready, "idle_mb": idle, "loaded_mb": memory(process.pid)}


def values(figures: dict[str, Any]) -> dict[str, float]:
    """The figures that are compared, by name; rates first."""
    found: dict[str, float] = {}
    if figures["upload_per_s"]:
        found["upload to searchable, photos/s"] = statistics.median(figures["upload_per_s"])
    for similar in figures["similar"]:
        found[f"similar, {similar['connections']} connections, requests/s"] = statistics.median(similar["per_s"])
        found[f"similar, {similar['connections']} connections, p99 ms"] = similar["latency"]["p99_ms"]
    if idle := figures.get("idle"):
        found |= {"one upload, p50 ms": idle["latency"]["p50_ms"], "one upload, p99 ms": idle["latency"]["p99_ms"]}
    if shop := figures.get("storefront"):
        found["similar beside uploads, p99 ms"] = shop["busy"]["p99_ms"]
    found |= {"ready after, s": figures["ready_s"], "memory idle, MB": figures["idle_mb"]}
    return found | {"memory after, MB": figures["loaded_mb"]}


def show(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Medians of each system, and the ratio of the first to each other, round by round."""
    first, *others = rounds[0]
    for what in rounds[0][first]:
        line = f"{what:44}{statistics.median(r[first][what] for r in rounds):10.1f}"
        for other in others:
            ratios = [r[first][what] / r[other][what] for r in rounds if r[other].get(what)]
            if ratios:
                median = statistics.median(r[other][what] for r in rounds)
                spread = f"{statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                line += f"  {other} {median:10.1f}, ratio {spread}"
        print(line)


def main() -> None:
    """Measure in turn; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--vitrine", type=Path, default=REPOSITORY / "target/release/vitrine")
    parser.add_argument("--engine", default="onnxruntime", choices=["onnxruntime", "tract"], help="ours")
    parser.add_argument("--precision", default="int8", choices=["int8", "f32"], help="of ONNX Runtime, on both sides")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--parts", default="idle,upload,storefront")
    parser.add_argument("--reduced", action="store_true", help="also the peer that decodes large JPEG at reduced size")
    parser.add_argument("--filled", nargs=2, type=Path, metavar=("OURS", "PEER"), help="data folders with the same products")
    parser.add_argument("--ids", type=Path, help="ids of those products, one a line")
    parser.add_argument("--out", type=Path, help="all figures, as JSON")
    args = parser.parse_args()
    args.photos = args.photos.resolve()
    systems = Systems(args)
    names = ["vitrine", "peer", *(["peer, reduced"] if args.reduced else [])]
    rounds: list[dict[str, dict[str, float]]] = []
    raw: list[dict[str, Any]] = []
    for number in range(args.rounds):
        measured: dict[str, Any] = {}
        for name in names[: 2 if args.filled else None]:
            print(f"round {number + 1}: {name}", file=sys.stderr)
            if args.filled:
                data = args.filled[names.index(name)]
                measured[name] = systems.load(name, data, "similar", "--ids", str(args.ids.resolve()))
                continue
            with tempfile.TemporaryDirectory() as folder:
                measured[name] = systems.load(name, Path(folder) / "data", args.parts)
        raw.append(measured)
        rounds.append({name: values(figures) for name, figures in measured.items()})
    show(rounds)
    if args.out:
        args.out.write_text(json.dumps(raw, indent=1))


if __name__ == "__main__":
    main()
