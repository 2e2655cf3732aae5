"""``python -m scripts.recommender.package OUT.zip``: this package as one file, for `spark-submit --py-files`."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def is_packed() -> bool:
    """Whether this runs out of such a file: then all workers have it."""
    return not HERE.is_dir()


def write(out: Path) -> None:
    """Modules only."""
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("scripts/__init__.py", "")
        for module in sorted(HERE.glob("*.py")):
            packed.write(module, f"scripts/recommender/{module.name}")


def main() -> None:
    """Write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
