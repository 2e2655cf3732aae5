"""``python -m scripts.render.broken --out testdata/broken``: hand-broken and hostile files.

Each file carries the outcome the service owes: ``rejected`` with a clear error, or ``accepted`` where bytes are odd
but the picture is whole (a wrong file name, unknown chunks, an animation whose first frame is fine). Nothing here may
cost memory, time or the process. The limits meant are those of the design: 50 MP, 20 MiB, 16 px is too small.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import broken_avif, broken_bombs, broken_damage, broken_other, odd

Case = tuple[bytes, str, str]


def cases() -> dict[str, Case]:
    """File name to (bytes, outcome, reason)."""
    out: dict[str, Case] = {}
    for part in (broken_avif.cases(), broken_bombs.cases(), broken_damage.cases(), broken_other.cases()):
        twice = out.keys() & part.keys()
        if twice:
            raise ValueError(f"file names used twice: {sorted(twice)}")
        out |= part
    return dict(sorted(out.items()))


def write(folder: Path) -> int:
    """Writes every file and ``expected.json``; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    every = cases()
    for name, (data, _, _) in every.items():
        (folder / name).write_bytes(data)
    expected = {name: {"outcome": outcome, "reason": reason} for name, (_, outcome, reason) in every.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return len(every)


def main() -> None:
    """Parses arguments, writes ``--out`` and its neighbor ``odd``."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render.broken", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the broken files; odd ones go to ../odd")
    args = parser.parse_args()
    print(f"{write(args.out)} broken, {odd.write(args.out.parent / 'odd')} odd")


if __name__ == "__main__":
    main()
