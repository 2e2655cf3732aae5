"""Which photos are for validation: a whole product, or all photos of one sender, at a time.

Why by hash: the split of a product does not change when a source is left out or photos are added.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

VAL_SHARE = 0.12
#: A sender with more photos than this always trains: one person must not be half of the validation.
MAX_VAL_GROUP = 120


def group(source: str, row: dict[str, str]) -> str:
    """What must not stand on both sides: product (shared by catalog and studio), sender, or a run of close-ups."""
    if source in ("catalog", "studio"):
        return f"product:{row['id']}"
    if source == "garments":
        return f"sender:{row['sender_id']}"
    if source == "home":
        return f"home:{row['id']}"
    if source == "fabric":  # neighbours in the numbering are close-ups of the same cloth
        stem, number = Path(row["file"]).stem.rsplit("_", 1)
        return f"fabric:{stem}:{int(number) // 10}"
    return f"{source}:{row['file']}"


def is_val(group_id: str, seed: int, size: int = 1) -> bool:
    """True for VAL_SHARE of the groups."""
    if size > MAX_VAL_GROUP:
        return False
    digest = hashlib.sha256(f"split|{seed}|{group_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < VAL_SHARE * 2**32


def fold(group_id: str, k: int) -> int:
    """One of `k` folds for cross-validation; independent of the validation split."""
    digest = hashlib.sha256(f"fold|{group_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % k
