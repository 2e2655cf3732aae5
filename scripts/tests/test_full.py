"""The whole backbone as a torch module says what the exported graph says, before and after training."""

import numpy as np
import onnxruntime as ort
import torch

from scripts import backbone, export, features, full, golden, photos
from scripts.graph import BANDS, Clipped, Graph, add_backbone, pool
from scripts.net import Net

from .test_graph import WEIGHTS, needs_weights

PARTS = ["l1.bands", "l2.square", "l3.bands", "l4.mean"]


def through_graph(net: backbone.Backbone, x: np.ndarray) -> np.ndarray:
    g = Graph()
    taps = add_backbone(g, net, "image", Clipped())
    out = g.node("Concat", [pool(g, taps, *p.split(".")) for p in PARTS], "features", axis=1)
    width = sum(features.WIDTHS[(p.split(".")[0], p.split(".")[1])] for p in PARTS)
    session = ort.InferenceSession(g.model(len(x), {out: width}, "test").SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": x})[0])


@needs_weights
def test_module_and_graph_agree_also_when_trained() -> None:
    x = photos.normalize(np.stack([photos.stretch(golden.shirt(96, 128))]))
    whole = full.Whole(backbone.load(WEIGHTS))
    with torch.no_grad():
        own = full.pooled(whole(torch.from_numpy(x)), PARTS).numpy()
        assert np.allclose(own, through_graph(backbone.load(WEIGHTS), x), atol=2e-3)
        generator = torch.Generator().manual_seed(0)
        for value in whole.parameters():
            value.add_(0.02 * value.abs().mean() * torch.randn(value.shape, generator=generator))
        changed = full.pooled(whole(torch.from_numpy(x)), PARTS).numpy()
    trained = {f"whole.{name}": value.numpy() for name, value in whole.state_dict().items()}
    shipped = through_graph(export.trained_backbone(WEIGHTS, trained), x)
    assert not np.allclose(changed, own, atol=0.05)
    cosine = (shipped * changed).sum() / np.linalg.norm(shipped) / np.linalg.norm(changed)
    assert cosine > 0.999  # weights are rounded to int8


@needs_weights
def test_features_do_not_depend_on_the_size_of_the_picture() -> None:
    image = golden.shirt(240, 320)
    whole = full.Whole(backbone.load(WEIGHTS))
    drawn = [torch.from_numpy(photos.normalize(np.asarray(image.resize((side, side))))[None]) for side in (160, 224)]
    with torch.no_grad():
        at = [full.pooled(whole(x), PARTS) for x in drawn]
    assert at[0].shape == at[1].shape
    assert torch.nn.functional.cosine_similarity(at[0], at[1]).item() > 0.9


def test_two_views_of_a_photo_are_two() -> None:
    assert full.sizes_of("128:2,224:1") == [128, 128, 224]
    assert BANDS["l1"] == 4
    assert isinstance(Net(4, 3, {"a": 2}, 0.0), torch.nn.Module)
