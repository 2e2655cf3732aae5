"""Embeddings of real photos for the index's benchmark, each photo in several views.

    python -m scripts.index_vectors OUT.f32 --views 5
    cargo bench --bench index -- --vectors OUT.f32 --out DIR

Writes f32, little-endian, row-major: the first view of every photo (as it is), then the second (cropped, mirrored, in other
light, as in training) and so on; at last queries, the changed views that the model is judged by, of photos drawn by lot.
20,600 photos in 5 views with the int8 file take half an hour on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
from pathlib import Path

import numpy as np

from . import answers, augment, files, options, photos

_SEED = 1
Job = tuple[Path, str]


def _embed(job: Job) -> bytes | None:
    file, view = job
    try:
        image = augment.view(photos.load(file), _SEED, file.name, view)
    except (OSError, ValueError, photos.TooLarge) as error:
        print(f"{file}: left out, {error}", file=sys.stderr)
        return None
    return answers.of_image(image)["embedding"].astype("<f4").tobytes()


def jobs(folder: Path, views: int, queries: int) -> list[Job]:
    """Photos in all views, then queries."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".webp"))
    names = ["clean", *(f"aug{k}" for k in range(1, views))]
    drawn = random.Random(_SEED).sample(found, min(queries, len(found)))
    return [(file, name) for name in names for file in found] + [(file, "query") for file in drawn]


def main() -> None:
    """Embed all, in their order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=options.REPOSITORY / "models/default/model.int8.onnx")
    parser.add_argument("--photos", type=Path, default=options.photos_folder())
    parser.add_argument("--views", type=int, default=5, help="views of each photo")
    parser.add_argument("--queries", type=int, default=1000)
    args = parser.parse_args()
    todo = jobs(args.photos, args.views, args.queries)
    with multiprocessing.Pool(os.cpu_count(), answers.start, (args.model.read_bytes(),)) as pool:
        rows = [row for row in pool.imap(_embed, todo, chunksize=16) if row is not None]
    with files.replacing(args.out) as path:
        path.write_bytes(b"".join(rows))
    print(f"{len(rows)} vectors of {len(np.frombuffer(rows[0], '<f4'))} values")


if __name__ == "__main__":
    main()
