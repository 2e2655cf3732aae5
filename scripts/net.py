"""What is trained on the cached features: a shared layer, a head per attribute, an embedding layer.

Why small: the backbone is frozen, so everything here must learn in minutes on a CPU. Features are
standardised, then turned to their main axes (PCA) so that a step costs a quarter; the turn is
linear and is folded away before export.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

EMBEDDING_DIM = 256


def leading_axes(matrix: Tensor, k: int, rounds: int = 5) -> tuple[Tensor, Tensor]:
    """The k largest eigenvalues and their vectors of a covariance, by subspace iteration.

    A full decomposition of 5,000 features takes minutes; the far axes need no precision.
    """
    k = min(k, len(matrix))
    start = torch.randn(len(matrix), min(len(matrix), k + 64), generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start)[0]
    for _ in range(rounds):
        basis = torch.linalg.qr(matrix @ basis)[0]
    values, vectors = torch.linalg.eigh(basis.T @ matrix @ basis)
    return values[-k:].flip(0), (basis @ vectors[:, -k:]).flip(1)


@dataclass
class Axes:
    """Standardisation and main axes of the features: `((x - mean) / std) @ axes`."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    axes: NDArray[np.float32]  # (d, k)

    @classmethod
    def fit(cls, x: NDArray[np.float16], k: int, evenness: float = 0.0) -> Axes:
        """From training features (n, d); a feature that hardly varies is not blown up.

        `evenness` 0 keeps each axis' spread, 1 makes all equal (whitening); between helps to learn fast.
        """
        # Axes that few photos cannot tell from noise would be blown up by the evening: with 325 photos and 1,536 axes a
        # model learnt its photos by heart and was right on 23 % of others.
        k = min(k, max(8, len(x) // 4))
        mean = x.mean(0, dtype=np.float64)
        std = np.sqrt(np.maximum(0, np.square(x, dtype=np.float32).mean(0, dtype=np.float64) - mean**2))
        floor = 0.05 * np.median(std)
        std = np.maximum(std, floor)
        d = x.shape[1]
        cov = np.zeros((d, d), np.float32)
        for i in range(0, len(x), 2048):
            z = ((x[i : i + 2048] - mean) / std).astype(np.float32)
            cov += z.T @ z
        matrix = torch.from_numpy(cov / len(x))
        values, vectors = leading_axes(matrix, k)
        kept = float(values.sum() / matrix.trace())
        print(f"{k} of {d} axes keep {kept:.4f} of the variance", flush=True)
        spread = values.clamp(min=1e-6).sqrt()
        scale = (spread / spread.square().mean().sqrt()) ** -evenness
        axes = (vectors * scale).numpy()
        return cls(mean.astype(np.float32), std.astype(np.float32), np.ascontiguousarray(axes))

    def turn(self, x: NDArray[np.float16]) -> Tensor:
        """(n, d) to (n, k)."""
        out = torch.empty(len(x), self.axes.shape[1])
        axes = torch.from_numpy(self.axes)
        for i in range(0, len(x), 2048):
            out[i : i + 2048] = torch.from_numpy((x[i : i + 2048] - self.mean) / self.std) @ axes
        return out


def spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature (n, d); one that hardly varies is not blown up."""
    std = x.std(0)
    return x.mean(0), std.clamp(min=0.05 * float(std.median()))


class Net(nn.Module):
    """(n, k) to logits per head and a unit embedding (n, 256)."""

    def __init__(self, k: int, hidden: int, heads: dict[str, int], dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(k, hidden)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, n) for name, n in heads.items()})
        self.embedding = nn.Linear(k, EMBEDDING_DIM)

    def embed(self, x: Tensor) -> Tensor:
        """Unit embedding."""
        return nn.functional.normalize(self.embedding(x), dim=1)

    def logits(self, x: Tensor) -> dict[str, Tensor]:
        """Raw logits of every head."""
        h = self.dropout(torch.relu(self.hidden(x)))
        return {name: head(h) for name, head in self.heads.items()}


def accepted_loss(logits: Tensor, accepted: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean of -log(sum of the accepted labels' probabilities); rows without any are left out."""
    known = accepted.sum(1) > 0
    if not bool(known.any()):
        return logits.sum() * 0
    logp = torch.log_softmax(logits[known], 1)
    hit = logp.masked_fill(accepted[known] == 0, float("-inf")).logsumexp(1)
    return -(1 - smoothing) * hit.mean() - smoothing * logp.mean()


def soft_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence from the teacher's probabilities; rows of zeros are left out."""
    known = target.sum(1) > 0
    if not bool(known.any()):
        return logits.sum() * 0
    p = target[known].clamp(min=1e-6)
    return (p * (p.log() - torch.log_softmax(logits[known], 1))).sum(1).mean()


def instance_loss(a: Tensor, b: Tensor, product: Tensor, temperature: float, bank: Tensor | None = None,
                  bank_product: Tensor | None = None) -> Tensor:  # fmt: skip
    """Each view must find the other view of its photo among all of the batch, and of `bank` where given.

    Photos of the same product (catalog and studio) are neither positives nor negatives. The bank holds
    embeddings of other training photos from the start of the epoch: look-alikes that a batch rarely has.
    """
    z = torch.cat([a, b])
    n = len(a)
    similarity = z @ z.T / temperature
    same = product[:, None] == product[None, :]
    ignore = same.repeat(2, 2)
    index = torch.arange(2 * n)
    partner = (index + n) % (2 * n)
    ignore[index, partner] = False
    similarity = similarity.masked_fill(ignore, -1e4)
    if bank is not None and bank_product is not None:
        with torch.autocast("cpu", torch.bfloat16):
            others = z @ bank.T
        ignore = product.repeat(2)[:, None] == bank_product[None, :]
        similarity = torch.cat([similarity, (others.float() / temperature).masked_fill(ignore, -1e4)], 1)
    return nn.functional.cross_entropy(similarity, partner)


class Prototypes(nn.Module):
    """A unit vector per label: the embedding's cosine to it, times a scale, is a logit (training only)."""

    def __init__(self, labels: int, scale: float) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(labels, EMBEDDING_DIM) * 0.05)
        self.scale = scale

    def forward(self, embedding: Tensor) -> Tensor:
        """(n, 256) to (n, labels)."""
        return self.scale * embedding @ nn.functional.normalize(self.vectors, dim=1).T
