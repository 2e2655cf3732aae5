"""Who likes what: the model that drawn interactions follow.

Users like some regions of embedding space, a price band, a department and colors. None of it is given away: regions are
found in embeddings with noise added, a third of what decides within a region is style that no feature holds, every
choice is noisy, and how popular a product is depends on its content only in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

#: Dimensions of style that the embedding hints at, and of style that no feature holds.
SEEN, HIDDEN = 16, 8
#: Length of the noise on a unit embedding.
NOISE = 0.6
#: Exponent of Zipf's law; shops lie near it.
ZIPF = 0.8


@dataclass
class Items:
    """What the model knows of products; `region` sorts them into `regions`, popular ones first within each."""

    ids: np.ndarray
    style: np.ndarray
    price: np.ndarray
    department: np.ndarray
    color: np.ndarray
    weight: np.ndarray
    arrival: np.ndarray
    regions: int
    members: np.ndarray
    starts: np.ndarray
    cumulative: np.ndarray


@dataclass
class Users:
    """Tastes of a chunk of users, a row each."""

    regions: np.ndarray
    shares: np.ndarray
    style: np.ndarray
    price: np.ndarray
    width: np.ndarray
    department: np.ndarray
    color: np.ndarray


def codes(values: list[Any]) -> np.ndarray:
    """A number for each distinct value."""
    return np.unique(np.array([str(v) for v in values]), return_inverse=True)[1]


def department(row: list[dict[str, Any]] | None, category: str | None) -> str:
    """The gender or department that the attributes state, else the first word of the category."""
    stated = {a["name"]: a["value"] for a in row or [] if a["value"]}
    return str(stated.get("gender") or stated.get("department") or (category or "none").split()[0])


def embeddings(column: pa.ChunkedArray, rng: np.random.Generator) -> np.ndarray:
    """(items, width); products without a photo lie anywhere."""
    rows = column.combine_chunks()
    there = rows.is_valid().to_numpy(zero_copy_only=False)
    flat = rows.flatten().to_numpy().reshape(int(there.sum()), -1)
    found = rng.normal(size=(len(there), flat.shape[1])).astype(np.float32) / np.float32(np.sqrt(flat.shape[1]))
    found[there] = flat
    return found


def nearest(x: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The center of each row, a slice at a time."""
    half = 0.5 * (centers**2).sum(1)
    return np.concatenate([(x[s : s + 65_536] @ centers.T - half).argmax(1) for s in range(0, len(x), 65_536)])


def find_regions(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """K-means, ten rounds on at most 50,000 rows."""
    sample = x[rng.permutation(len(x))[:50_000]]
    centers = sample[:count].copy()
    for _ in range(10):
        own = nearest(sample, centers)
        for c in range(count):
            if (mine := sample[own == c]).size:
                centers[c] = mine.mean(0)
    return nearest(x, centers)


def draw_items(table: pa.Table, cold: float, late: float, split_day: float, last_day: float, seed: int) -> Items:
    """Products of an export: a share of them `late` (they come before the split), a share `cold` (they come after it)."""
    rng = np.random.default_rng([seed, 2])
    count = table.num_rows
    embedding = embeddings(table["embedding"], rng)
    noise = rng.normal(size=embedding.shape).astype(np.float32) * np.float32(NOISE / np.sqrt(embedding.shape[1]))
    noisy = embedding + noise
    regions = int(np.clip(count // 50, 3, 120))
    region = find_regions(noisy, regions, rng)
    seen = noisy @ rng.normal(size=(noisy.shape[1], SEEN)).astype(np.float32)
    seen = (seen - seen.mean(0)) / seen.std(0)
    style = np.hstack([seen * np.sqrt(2 / 3 / SEEN), rng.normal(size=(count, HIDDEN)) * np.sqrt(1 / 3 / HIDDEN)])
    asked = np.array([p if p and p > 0 else np.nan for p in table["price"].to_pylist()], float)
    price = np.log(np.where(np.isnan(asked), np.nanmedian(asked), asked))
    price = (price - price.mean()) / max(price.std(), 1e-9)
    appeal = 0.5 * seen[:, 0] + 0.4 * rng.normal(size=regions)[region] - 0.3 * price + rng.normal(size=count)
    rank = np.empty(count)
    rank[np.argsort(-appeal)] = np.arange(count)
    weight = (rank + 5.0) ** -ZIPF
    kind = rng.random(count)
    arrival = np.where(kind < cold, rng.uniform(split_day, split_day + 0.6 * (last_day - split_day), count), -np.inf)
    arrival = np.where((kind >= cold) & (kind < cold + late), rng.uniform(0.3 * split_day, split_day, count), arrival)
    members = np.lexsort((-weight, region))
    starts = np.searchsorted(region[members], np.arange(regions + 1))
    categories, attributes = table["category"].to_pylist(), table["attributes"].to_pylist()
    colors = [row[0]["name"] if row else "none" for row in table["colors"].to_pylist()]
    return Items(
        ids=np.array(table["item_id"].to_pylist(), object), style=style.astype(np.float32), price=price,
        department=codes([department(a, c) for a, c in zip(attributes, categories, strict=True)]), color=codes(colors),
        weight=weight, arrival=arrival, regions=regions, members=members, starts=starts,
        cumulative=np.concatenate([[0.0], np.cumsum(weight[members])]),
    )  # fmt: skip


def draw_users(items: Items, count: int, rng: np.random.Generator) -> Users:
    """Tastes of some users."""
    size = items.cumulative[items.starts[1:]] - items.cumulative[items.starts[:-1]]
    favored = rng.choice(items.regions, (count, 3), p=size / size.sum())
    shares = rng.dirichlet([0.8, 0.8, 0.8], count)
    departments, colors = int(items.department.max()) + 1, int(items.color.max()) + 1
    frequency = np.bincount(items.department, weights=items.weight, minlength=departments)
    return Users(
        regions=favored, shares=shares, style=rng.normal(size=(count, SEEN + HIDDEN)).astype(np.float32),
        price=rng.normal(0, 0.8, count), width=rng.uniform(0.6, 1.6, count),
        department=rng.choice(departments, count, p=frequency / frequency.sum()),
        color=rng.normal(size=(count, colors)).astype(np.float32),
    )  # fmt: skip


def utility(users: Users, items: Items, user: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """How much each user of a row likes each candidate of that row."""
    style = np.einsum("sd,skd->sk", users.style[user], items.style[candidates])
    price = np.minimum(((items.price[candidates] - users.price[user, None]) / users.width[user, None]) ** 2, 9.0)
    same = items.department[candidates] == users.department[user, None]
    color = users.color[user[:, None], items.color[candidates]]
    return np.asarray(1.2 * style - 0.35 * price + 0.8 * same + 0.5 * color)
