"""CARD.md: what a bundle was trained on, under which licences, how well it does and where it fails.

Why generated: the figures come from the evaluation of the same file, so the card cannot go stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import measure

LICENCES = {
    "catalog": ("shop photos on white (GaneshNeupane01/Fashion-Recommendation-System, Myntra photos)", "**none stated**"),
    "studio": ("shop photos, true 3:4 (knowrohit/Fashion-Rec-Sys, Myntra photos)", "repository MIT, **photos not stated**"),
    "garments": ("single garments by phone (alexeygrigorev/clothing-dataset)", "CC0"),
    "home": ("furniture and home goods (IvonaTau/style-search, IKEA photos)", "**none stated**"),
    "worn": ("people in streets (Stanford Clothing Attributes)", "**none stated** (academic)"),
    "parsing": ("street photos with pixel masks (bearpaw/clothing-co-parsing), for the region map only", "Apache-2.0 file"),
    "fabric": ("fabric close-ups (lstearns86/clothing-pattern-dataset)", "MIT, free of restriction"),
}


#: What a recipe trains, for people.
RECIPES = {
    "linear": "heads and embedding on frozen features", "partial": "layer 4, heads and embedding, from cached maps",
    "full": "every layer",
}  # fmt: skip
TUNED = {
    "linear": "Not fine-tuned.", "partial": "Layer 4 was fine-tuned, its weights are stored as int8 rows.",
    "full": "Fine-tuned whole, its weights are stored as int8 rows.",
}  # fmt: skip


def text(name: str, about: dict[str, Any], figures: dict[str, Any], heads: list[dict[str, Any]],
         has_regions: bool = False) -> str:  # fmt: skip
    """The card as markdown."""
    if not figures.get("heads"):
        return f"# Model card: {name}\n\nNot measured yet: `scripts.evaluate`, then `scripts.export --figures`.\n"
    sources = about["sources"]
    unstated = [s for s in ("catalog", "studio", "worn", "home") if s in sources]
    below = [
        f"`{h['name']}` (best {figures['heads'][h['name']]['precision']:.3f})"
        for h in heads
        if figures["heads"][h["name"]].get("n") and figures["heads"][h["name"]]["precision"] < measure.PRECISION
    ]
    out = [f"# Model card: {name}", ""]
    recipe = about.get("recipe", "linear")
    out += [
        f"A ResNet-50 with {len(heads)} attribute heads, a 256-d embedding{' and a region map' if has_regions else ''}, trained "
        f"on {about.get('views', 'the')} cached views. Recipe: {RECIPES[recipe]}. Pooled features: {', '.join(about['parts'])}.",
        "", "## Trained on", "", "| set | what | licence of the photos |", "| --- | --- | --- |",
    ]  # fmt: skip
    own = ("a training set of your own", "yours to know")
    used = [*sources, *(["parsing"] if has_regions else [])]
    out += [f"| {s} | {LICENCES.get(s, own)[0]} | {LICENCES.get(s, own)[1]} |" for s in used]
    if about.get("taught"):
        out += [
            "",
            "Taught beside the labels by heads on this backbone and an ImageNet MobileNetV2 together (int8, Apache-2.0), which "
            "were fitted without the photo in question (folds by product). Its weights are not in the bundle.",
        ]
    if unstated:
        out += [
            "",
            f"**{', '.join(unstated)}: nobody has stated a licence for these photos.** Retrain on photos of your own "
            "(`--sources` leaves sets out) before any commercial use.",
        ]
    out += [
        "", "## Backbone", "",
        "ResNet-50 with 1-bit weights and 2-bit activations (ImageNet), Xilinx ResNet50-PYNQ w1a2_v1.0, BSD-3-Clause; "
        f"run here in floating point. {TUNED[recipe]} Notice: it stands at the end and must be kept.",
        "", "## Figures", "",
        "On validation photos whose product or sender never trained, near-duplicates included. Settings were "
        "chosen, temperatures and thresholds fitted on the same photos, so accuracy, calibration, "
        "coverage and precision are a little flattering. A threshold is the lowest confidence "
        f"above which {measure.PRECISION:.0%} of what is asserted was right.",
    ]  # fmt: skip
    if below:
        out += ["", f"Not reachable, the best cut is used instead: {', '.join(below)}."]
    out += ["", measure.lines(figures), "", *notes(figures), "", "## Limits", ""]
    out += [
        "- `category` of phone photos is known only coarsely (Pants, Shoes): the finer kind is learnt from shop photos.",
        "- `season`, `usage` and the finer colours (navy_blue or blue, steel or silver, beige or cream) are what the shop "
        "wrote; no photo shows them for sure.",
        "- `pattern`, `neckline`, `sleeve_length` of shop photos are weak labels from titles and kinds: a T-shirt counts as "
        "short-sleeved unless its title says otherwise. Of 200 labels mined from titles, looked at by eye, 196 were right: "
        "pattern 119 of 122, neckline 59 of 60, sleeve_length 18 of 18 (before brands called Polo were taken out of the titles, "
        "neckline had 49 of 60).",
        "- `gender` of street photos is the annotators' guess about the wearer.",
        "- Home goods have few photos each; rare kinds are `other_home`.",
        "- One product a photo is assumed; other clothes of a model in the photo are seen too.",
    ]  # fmt: skip
    licence = Path(__file__).with_name("LICENSE.resnet50-w1a2").read_text().strip()
    out += ["", "## Notice of the backbone", "", "```", licence, "```"]
    return "\n".join(out) + "\n"


def notes(figures: dict[str, Any]) -> list[str]:
    """What the retrieval figures mean."""
    out = [
        "`p10_*`: share of the ten nearest with the query's category, val queries in a gallery of all photos, of val only, "
        "of all catalog photos, of val catalog photos. `recall_query`: val catalog photos re-cropped to 80 to 90 % of "
        "their area, mirrored, brightened x1.1 to 1.25 and re-compressed (JPEG 50 to 70) find their own file first among "
        "all catalog photos; `recall_hard`: 64 to 81 % of the area. `_same_bytes` also accepts "
        "a byte-identical file under another id, `_same_title` the same product or title too. `pairs_*`: studio photos (3:4) "
        "whose product has a catalog photo (squashed to a square): the share that finds it first, how alike the two "
        "embeddings are (cosine), and how often both have the same first label (mean over heads, and the head with the least)."
    ]
    if twins := figures.get("twins"):
        out[0] += (
            f" {twins['catalog']} catalog photos have a byte-identical twin under another id, {twins['val']} of them in val."
        )
    if "int8" in figures:
        a = figures["agreement"]["int8"]
        out += ["", f"### f32 and int8\n\nOn {a['n']} validation photos their embeddings agree to a mean cosine of "
                f"{a['mean_cosine']:.4f} (least {a['min_cosine']:.4f}), their categories on {a['category']:.1%}.",
                "", measure.compared(figures, figures["int8"], ("f32", "int8"))]  # fmt: skip
    return out
