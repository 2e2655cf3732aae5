"""What an exported file says of photos, kept on disk by the file's hash.

Why: evaluation, promotion and report all ask the same files about the same photos; the whole file runs from the photo on,
so that what is measured is what ships, and each photo runs once.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image

from . import augment, dataset, files, measure, photos
from .net import EMBEDDING_DIM

_net: ort.InferenceSession | None = None


def session(model: bytes) -> ort.InferenceSession:
    """One thread, so that one process a core keeps the machine busy."""
    settings = ort.SessionOptions()
    if b"QuantizeLinear" not in model:
        # Weights alone are stored as int8: decoded once, not at every photo (171 to 113 ms each on one core).
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, settings, ["CPUExecutionProvider"])


def run(net: ort.InferenceSession, feed: dict[str, Any]) -> dict[str, measure.F32]:
    """All outputs of one photo by name, without the batch axis; the region map, which no figure here reads, is left out."""
    names = [o.name for o in net.get_outputs() if o.name != "regions"]
    return {name: np.asarray(v)[0] for name, v in zip(names, net.run(names, feed), strict=True)}


def stacked(values: list[dict[str, measure.F32]], photo: list[int]) -> measure.Answers:
    """One dict a photo to arrays."""
    if not values:
        return measure.Answers(np.zeros(0, np.int64), {}, np.zeros((0, EMBEDDING_DIM), np.float32))
    logits = {name: np.stack([v[name] for v in values]) for name in values[0] if name != "embedding"}
    return measure.Answers(np.array(photo, np.int64), logits, np.stack([v["embedding"] for v in values]))


def start(model: bytes) -> None:
    """Makes a process of a pool ready for `of_image`."""
    global _net
    _net = session(model)


def of_image(image: Image.Image) -> dict[str, measure.F32]:
    """What the file that this process was started with says of an image."""
    assert _net is not None
    return run(_net, {"image": photos.normalize(photos.stretch(image))[None]})


def _photo(job: tuple[Path, str, str, int]) -> dict[str, measure.F32]:
    file, path, view, seed = job
    return of_image(augment.view(photos.load(file), seed, path, view))


def ask(model: bytes, rows: list[dataset.Row], which: list[int], view: str, seed: int, workers: int) -> measure.Answers:
    """Photos `which` (rows of the table), changed as `view` says, through the whole file."""
    jobs = [(Path(rows[i]["file"]), rows[i]["path"], view, seed) for i in which]
    with multiprocessing.Pool(workers, start, (model,)) as pool:
        return stacked(pool.map(_photo, jobs, chunksize=16), which)


def kept(folder: Path, model: bytes, rows: list[dataset.Row], which: list[int], view: str, seed: int,
         workers: int) -> measure.Answers:  # fmt: skip
    """As `ask`, from disk where this file was asked about exactly these photos before."""
    asked = "\n".join([view, str(seed), *(rows[i]["path"] + rows[i]["content"] for i in which)]).encode()
    name = f"{hashlib.sha256(model).hexdigest()[:16]}-{view}-{hashlib.sha256(asked).hexdigest()[:12]}.npz"
    if (folder / name).exists():
        held = np.load(folder / name)
        logits = {k.removeprefix("head."): held[k] for k in held.files if k.startswith("head.")}
        return measure.Answers(np.array(which, np.int64), logits, held["embedding"])
    said = ask(model, rows, which, view, seed, workers)
    files.write_arrays(folder / name, {"embedding": said.z, **{f"head.{k}": v for k, v in said.logits.items()}})
    return said


def joined(parts: list[measure.Answers]) -> measure.Answers:
    """Several into one."""
    parts = [p for p in parts if len(p.photo)]
    logits = {k: np.concatenate([p.logits[k] for p in parts]) for k in parts[0].logits}
    return measure.Answers(np.concatenate([p.photo for p in parts]), logits, np.concatenate([p.z for p in parts]))
