"""The region head: its truth, its loss, and that the exported nodes say what the trained module says."""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from PIL import Image

from scripts import backbone, export, features, golden, photos, regions, regions_data
from scripts.graph import Clipped, Quantized
from scripts.regions_data import BIT, GARMENTS
from scripts.taxonomy import HEADS

from .test_graph import PARTS, WEIGHTS, needs_weights


def test_the_category_says_which_garment_is_sold() -> None:
    sold = regions.weights(["tshirts", "jeans", "dresses", "watches", "chair", "heels"])
    best = [GARMENTS[k] for k in sold.argmax(1)]
    assert best == ["top", "bottom", "top", "goods", "goods", "footwear"]
    assert sold[2, GARMENTS.index("full")] == 1
    assert sold[0, GARMENTS.index("bottom")] == 0
    assert sold[2, GARMENTS.index("bottom")] == 0.5


def test_a_cell_takes_what_covers_most_of_it_or_nothing() -> None:
    mask = np.full((280, 280), BIT["background"], np.uint8)
    mask[:, 100:] = BIT["top"]
    mask[:, 145:150] = BIT["skin"]  # half of the cells' width
    cells = regions_data.cells(mask)
    assert cells.shape == (28, 28)
    assert (cells[:, :10] == BIT["background"]).all()
    assert (cells[:, 10:14] == BIT["top"]).all()
    assert (cells[:, 14] == 0).all()


def test_the_ground_is_reached_from_the_border_only() -> None:
    open_ = np.ones((9, 9), bool)
    open_[2:7, 2:7] = False
    open_[4, 4] = True  # a hole
    reached = regions_data.flood(open_)
    assert reached[0, 0] and reached[1, 5] and not reached[4, 4]


def test_a_set_of_classes_counts_as_right() -> None:
    logits = torch.zeros(1, 8, 1, 2)
    logits[0, 3] = 20.0
    accepted = torch.tensor([[[BIT["top"] | BIT["full"], 0]]])
    assert regions.loss(logits, accepted).item() < 1e-3
    assert regions.loss(logits, torch.tensor([[[BIT["skin"], 0]]])).item() > 10


def test_views_turn_photo_and_truth_alike() -> None:
    image = Image.fromarray(np.tile(np.arange(240, dtype=np.uint8)[None, :, None], (120, 1, 3)))
    mask = np.where(np.arange(240)[None] > 120, 2, 1).astype(np.uint8).repeat(120, 0)
    changed, truth = regions_data.view(image, mask, "some photo", 1)
    gray = np.asarray(changed).mean(2)
    assert changed.size == truth.shape[::-1]
    assert gray[truth == 2].mean() > gray[truth == 1].mean()


@needs_weights
def test_exported_nodes_say_what_the_head_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = regions.Head().eval()
    rng = np.random.default_rng(0)
    labels = {h: ["tshirts", "jeans"] if h == "category" else ["a", "b"] for h in HEADS}
    width = sum(features.WIDTHS[(p.split(".")[0], p.split(".")[1])] for p in PARTS)
    trained = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    for name, shape in (("hidden", (16, width)), ("embedding", (256, width)), *((f"head.{h}", (2, 16)) for h in HEADS)):
        trained[f"{name}.weight"] = (rng.normal(size=shape) / 60).astype(np.float32)
        trained[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    x = photos.normalize(photos.stretch(golden.shirt(96, 128)))[None]
    maps = [torch.from_numpy(np.asarray(m)) for m in regions.session(WEIGHTS, 1, 1).run(None, {"image": x})]
    with torch.no_grad():
        steps = head.steps(*maps)
    trained |= regions.state(head) | {f"regions.range.{k}": np.array(float(v.abs().max()), np.float32) for k, v in steps.items()}
    outputs = {}
    for ranges in (Clipped(), Quantized()):
        proto = export.build(WEIGHTS, trained, labels, PARTS, ranges)
        net = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        if isinstance(ranges, Clipped):
            whole = proto.SerializeToString(deterministic=True)
            (tmp_path / "model.onnx").write_bytes(whole)
            again = export.build(WEIGHTS, trained | regions.load(tmp_path), labels, PARTS, ranges)
            assert again.SerializeToString(deterministic=True) == whole, "taken from a bundle it is the same head"
        outputs[type(ranges)] = [np.asarray(v)[0] for v in net.run(["regions", "category"], {"image": x})]
    said, category = outputs[Clipped]
    assert said.shape == (5, 28, 28)
    assert np.allclose(said.sum(0), 1, atol=1e-4)
    p = torch.softmax(steps["out"], 1)[0].numpy()
    sold = np.exp(category) / np.exp(category).sum() @ regions.weights(labels["category"])
    person = min(1.0, p[1:3].sum(0).mean() / regions.PERSON)
    other = np.tensordot(1 - sold, p[3:], 1) * person
    expected = np.stack([*p[:3], p[3:].sum(0) - other, other])
    assert np.abs(said - expected).max() < 0.05  # int8 weights here, and maps from the int8 backbone there
    assert np.abs(outputs[Quantized][0] - said).max() < 0.1
    assert backbone.ACT_RANGE == (0.0, 3.0)


def test_samples_of_other_options_are_made_anew(tmp_path: Path) -> None:
    names = ("photos", "weights", "table", "sources", "views", "rendered", "shop")
    args = argparse.Namespace(**dict.fromkeys(names, 1))
    assert not regions.is_filled(tmp_path, args)
    np.savez(tmp_path / "truth.npz", asked=regions.asked(args))
    assert regions.is_filled(tmp_path, args)
    assert not regions.is_filled(tmp_path, argparse.Namespace(**(vars(args) | {"rendered": 2})))
