"""Attended features: module and graph agree, a mirrored photo gives the same values, other sizes work."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from scripts import attend
from scripts.backbone import TAP_CHANNELS
from scripts.graph import Clipped, Graph, Quantized, Ranges


def module() -> attend.Attend:
    torch.manual_seed(3)
    made = attend.Attend()
    with torch.no_grad():
        made.place.normal_()
        made.look.weight.mul_(8)
    return made


def maps() -> torch.Tensor:
    return torch.rand(1, TAP_CHANNELS[attend.TAP], attend.SIDE, attend.SIDE, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(("ranges", "least"), [(Clipped(), 0.9999), (Quantized(), 0.999)])
def test_module_and_graph_agree(ranges: Ranges, least: float) -> None:
    made = module()
    g = Graph()
    # The graph's input is a photo: its values, twice in a row, stand for a map.
    count = TAP_CHANNELS[attend.TAP] * attend.SIDE**2
    flat = g.node("Flatten", ["image"], axis=1)
    cut = [g.const("cut", np.array([v], np.int64)) for v in (0, count, 1)]
    some = g.node("Slice", [g.node("Concat", [flat, flat], axis=1), *cut])
    shape = g.const("as.map", np.array([1, -1, attend.SIDE, attend.SIDE], np.int64))
    out = attend.add(g, g.node("Reshape", [some, shape]), attend.state(made), ranges)
    model = g.model(1, {out: attend.WIDTH}, "test").SerializeToString()
    image = np.random.default_rng(0).uniform(0, 3, (1, 3, 224, 224)).astype(np.float32)
    wide = np.concatenate([image.reshape(1, -1)] * 2, 1)[:, :count]
    x = torch.from_numpy(wide.reshape(1, -1, attend.SIDE, attend.SIDE))
    with torch.no_grad():
        own = made(x).numpy()[0]
    said = np.asarray(ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": image})[0])[0]
    assert (own @ said) / np.linalg.norm(own) / np.linalg.norm(said) > least


def test_a_mirrored_photo_gives_the_same_values_one_upside_down_does_not() -> None:
    made, x = module(), maps()
    with torch.no_grad():
        own, mirrored, turned = made(x), made(x.flip(3)), made(x.flip(2))
    assert torch.allclose(own, mirrored, atol=1e-5)
    assert not torch.allclose(own, turned, atol=1e-3)
    assert float(own.min()) >= 0 and float(own.max()) <= 3


def test_smaller_photos_are_looked_at_alike() -> None:
    made, x = module(), maps()
    small = torch.nn.functional.interpolate(x, (8, 8), mode="area")
    with torch.no_grad():
        cosine = torch.nn.functional.cosine_similarity(made(x), made(small))
    assert float(cosine) > 0.9
