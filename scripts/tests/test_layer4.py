"""Layer 4 in torch against the graph that ships, before and after its weights change."""

import numpy as np
import onnxruntime as ort
import torch

from scripts import backbone, export, features, golden, photos
from scripts.graph import Clipped, Graph, add_backbone, pool
from scripts.layer4 import Layer4
from scripts.tests.test_graph import WEIGHTS, needs_weights


def through_graph(net: backbone.Backbone, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What enters layer 4 and its pooled output, by ONNX Runtime."""
    g = Graph()
    taps = add_backbone(g, net, "image", Clipped())
    entry, out = g.node("Identity", [taps["l3"]], "map"), pool(g, taps["l4"], "mean")
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
