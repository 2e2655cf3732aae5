"""Figures on small arrays whose answer is known."""

import numpy as np
import pytest
import torch

from scripts import measure, train
from scripts.net import Net, accepted_loss, instance_loss, leading_axes
from scripts.taxonomy import HEADS
from scripts.train import Sampler


def test_threshold_is_the_lowest_that_keeps_the_precision() -> None:
    confidence = np.linspace(1, 0, 100, dtype=np.float32)
    right = np.arange(100) < 60
    cut, coverage, precision = measure.threshold(confidence, right, 0.95)
    assert precision >= 0.95
    assert coverage == pytest.approx(0.63)
    assert cut == confidence[62]


def test_threshold_out_of_reach_is_the_best_there_is() -> None:
    confidence = np.linspace(1, 0, 100, dtype=np.float32)
    right = np.arange(100) % 2 == 0
    assert measure.threshold(confidence, right, 0.95)[2] < 0.95


def test_few_photos_still_make_steps() -> None:
    few = Sampler(np.arange(40), np.zeros(40, np.int64), 512, 0)
    assert (few.batch, len(few.epoch())) == (32, 1)
    assert len(Sampler(np.arange(5), np.zeros(5, np.int64), 512, 0).epoch()) == 1
    assert Sampler(np.arange(20_000), np.zeros(20_000, np.int64), 512, 0).batch == 512


def test_adjusted_heads_lean_less_toward_the_frequent() -> None:
    blank = dict.fromkeys(HEADS, "") | {"split": "train"}
    rows = [blank | {"pattern": "solid"}] * 9 + [blank | {"pattern": "striped"}]
    labels = {"pattern": ["solid", "striped", "zigzag"]}
    share = train.priors(rows, labels)["pattern"]
    assert share.tolist() == pytest.approx([9.5 / 11.5, 1.5 / 11.5, 0.5 / 11.5])
    net = Net(2, 2, {"pattern": 3}, 0.0)
    layer = net.heads["pattern"]
    assert isinstance(layer, torch.nn.Linear)
    before = layer.bias.detach().numpy().copy()
    train.adjust(net, rows, labels, 0.5)
    assert np.allclose(layer.bias.detach().numpy() - before, -0.5 * np.log(share), atol=1e-6)


def test_temperature_cools_overconfidence() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 5)).astype(np.float32) * 2
    p = np.cumsum(measure.softmax(z), 1)
    label = (p < rng.uniform(size=(4000, 1)) * p[:, -1:]).sum(1)
    t = measure.temperature(z * 2, np.eye(5, dtype=np.float32)[label])
    assert 1.8 < t < 2.2


def test_head_counts_alternatives_as_right_and_unknown_not_at_all() -> None:
    z = np.array([[2, 1, 0], [0, 2, 1], [1, 0, 2]], np.float32)
    accepted = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]], np.float32)
    figures = measure.head(z, accepted, t=1.0, cut=0.0)
    assert (figures["n"], figures["accuracy"]) == (2, 0.5)


def test_precision_at_leaves_the_query_out() -> None:
    z = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    label, photo = np.array([0, 0, 1, 1]), np.arange(4)
    assert measure.precision_at(z, z, label, label, photo, photo, k=1) == 1.0


def test_accepted_loss_of_alternatives() -> None:
    loss = accepted_loss(torch.zeros(2, 4), torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]]))
    assert loss.item() == pytest.approx(np.log(2), abs=1e-5)


def test_instance_loss_prefers_the_partner_and_ignores_the_same_product() -> None:
    z = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.manual_seed(0)), dim=1)
    good = instance_loss(z, z, torch.arange(6), 0.05)
    bad = instance_loss(z, z.roll(1, 0), torch.arange(6), 0.05)
    assert good < 0.1 < bad
    assert instance_loss(z, z.roll(1, 0), torch.zeros(6, dtype=torch.long), 0.05) < 1e-4


def test_sampler_pairs_views_of_one_photo() -> None:
    photo = np.array([0, 0, 0, 1, 1, 2] * 20) + np.repeat(np.arange(20) * 3, 6)
    sampler = Sampler(photo, np.zeros(60, np.int64), 16, seed=1)
    for first, second in sampler.epoch():
        assert (photo[first] == photo[second]).all()
        many = photo[first] % 3 != 2
        assert (first[many] != second[many]).all()


def test_leading_axes_are_those_of_the_full_decomposition() -> None:
    x = torch.randn(400, 60, generator=torch.manual_seed(0)) * torch.linspace(3, 0.1, 60)
    matrix = x.T @ x / 400
    values, vectors = leading_axes(matrix, 8, rounds=12)
    assert torch.allclose(values, torch.linalg.eigvalsh(matrix)[-8:].flip(0), rtol=1e-3)
    assert torch.allclose(vectors.T @ vectors, torch.eye(8), atol=1e-4)
