"""Reads a feature export: which folders count, and which row of a product does.

An export is a folder of `cursor=<int>/part-*.parquet`, each cursor folder with `_features.json` beside its parts. What
counts are the folders from the newest full one on; of a product, the row of the largest `seq`, of several the one in the newest
folder (another model has looked since); a tombstone removes it.
A folder without `_features.json` was not finished and does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = "urn:vitrine:features:v1"
MANIFEST = "_features.json"


def folders(manifests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The folders that count, oldest first, of all that have a manifest."""
    for folder, manifest in manifests.items():
        if manifest["schema"] != SCHEMA:
            raise ValueError(f"{folder}: schema {manifest['schema']}, expected {SCHEMA}")
    order = sorted(manifests, key=lambda folder: int(manifests[folder]["cursor"]))
    full = [position for position, folder in enumerate(order) if manifests[folder]["is_full"]]
    if not full:
        raise ValueError("no full export among the folders")
    chosen = order[full[-1] :]
    for before, folder in pairwise(chosen):
        held, after = int(manifests[before]["cursor"]), int(manifests[folder]["after"])
        if after > held:
            raise ValueError(f"{folder} goes on after {after}, but the one before it ends at {held}: a folder is missing")
        if manifests[folder]["source"] != manifests[before]["source"]:
            raise ValueError(f"{folder} is of another source than the one before it")
    return chosen


def local_folders(export: Path) -> list[Path]:
    """As `folders`, of an export on this machine's disks."""
    found = {str(file.parent): json.loads(file.read_text()) for file in export.glob(f"cursor=*/{MANIFEST}")}
    return [Path(folder) for folder in folders(found)]


def latest(item_ids: pa.ChunkedArray, seq: np.ndarray, deleted: np.ndarray) -> np.ndarray:
    """Positions of the rows that count, ascending; rows come folder by folder, and of equal ones the last counts."""
    code = item_ids.combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((seq, code))
    last = order[np.append(np.diff(code[order]) != 0, True)] if len(order) else order
    return np.sort(last[~deleted[last]])


def read_local(export: Path, columns: list[str]) -> pa.Table:
    """Some columns of all products, in memory: for tools and tests; the job reads with `scripts.recommender.catalogue`."""
    parts = [part for folder in local_folders(export) for part in sorted(folder.glob("part-*.parquet"))]
    keys = [pq.read_table(part, columns=["item_id", "seq", "deleted"]) for part in parts]
    key = pa.concat_tables(keys)
    rows = latest(key["item_id"], key["seq"].to_numpy(), key["deleted"].to_numpy())
    kept, start = [], 0
    for part, held in zip(parts, keys, strict=True):
        own = rows[(rows >= start) & (rows < start + held.num_rows)] - start
        kept.append(pq.read_table(part, columns=columns).take(pa.array(own)))
        start += held.num_rows
    return pa.concat_tables(kept)
