"""Layer 4 in torch against the graph that ships, before and after its weights change."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from scripts import backbone, export, features, golden, partial, photos
from scripts.graph import Clipped, Graph, add_backbone, pool
from scripts.layer4 import Layer4
from scripts.net import Axes, Net
from scripts.taxonomy import HEADS
from scripts.tests.test_graph import WEIGHTS, needs_weights


def through_graph(net: backbone.Backbone, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What enters layer 4 and its pooled output, by ONNX Runtime."""
    g = Graph()
    taps = add_backbone(g, net, "image", Clipped())
    entry, out = g.node("Identity", [taps["l3"]], "map"), pool(g, taps, "l4", "mean")
    proto = g.model(len(x), {entry: features.MAP_SHAPE, out: 2048}, "test")
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    maps, pooled = session.run([entry, out], {"image": x})
    return np.asarray(maps), np.asarray(pooled)


@needs_weights
def test_trained_layer_is_what_ships() -> None:
    x = photos.normalize(np.stack([photos.stretch(image) for image in (golden.shirt(96, 128), golden.clock(160, 90))]))
    layer = Layer4(backbone.load(WEIGHTS))
    maps, expected = through_graph(backbone.load(WEIGHTS), x)
    with torch.no_grad():
        assert np.allclose(layer(torch.from_numpy(maps)).numpy(), expected, atol=1e-3)
        generator = torch.Generator().manual_seed(0)
        for value in layer.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=generator))
        trained = {f"layer4.{name}": value.numpy() for name, value in layer.state_dict().items()}
        changed = layer(torch.from_numpy(maps)).numpy()
    _, shipped = through_graph(export.trained_backbone(WEIGHTS, trained), x)
    assert not np.allclose(changed, expected, atol=0.1)
    cosine = (shipped * changed).sum(1) / np.linalg.norm(shipped, axis=1) / np.linalg.norm(changed, axis=1)
    assert cosine.min() > 0.9995  # weights are rounded to int8


@needs_weights
def test_what_the_recipe_saves_can_be_exported_and_says_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    labels = {head: ["a", "b"] for head in HEADS}
    width = sum(features.WIDTHS[(p.split(".")[0], p.split(".")[1])] for p in partial.FROZEN)
    rng = np.random.default_rng(0)
    turn = (rng.normal(size=(width, 6)) / 60).astype(np.float32)
    axes = Axes(np.zeros(width, np.float32), np.ones(width, np.float32), turn)
    net = Net(6 + 2048, 8, {head: 2 for head in HEADS}, 0.0)
    layer = Layer4(backbone.load(WEIGHTS))
    model = partial.Model(layer, net, torch.nn.ModuleDict(), torch.zeros(2048), torch.ones(2048))
    partial.save(tmp_path / "m.npz", model, axes, labels, {})
    parts = [*partial.FROZEN, *partial.TRAINED]
    proto = export.build(WEIGHTS, dict(np.load(tmp_path / "m.npz")), labels, parts, Clipped())
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = photos.normalize(photos.stretch(golden.shirt(96, 128)))[None]
    shipped = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": x}), strict=True))
    features_, maps = features.session(WEIGHTS, "f32", 1, batch=1).run(["features", "map"], {"image": x})
    pairs = tuple((p.split(".")[0], p.split(".")[1]) for p in partial.FROZEN)
    fixed = axes.turn(np.asarray(features_)[:, features.columns(pairs)].astype(np.float16))
    with torch.no_grad():
        expected = net.embed(model.inputs(fixed, layer(torch.from_numpy(np.asarray(maps))))).numpy()
    assert float((np.asarray(shipped["embedding"]) * expected).sum()) > 0.999
