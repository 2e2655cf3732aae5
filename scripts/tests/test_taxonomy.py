"""Rules of taxonomy.toml on rows as the sources write them."""

import argparse

import pytest

from scripts import options
from scripts.prepare import fold_rare
from scripts.taxonomy import HEADS, Taxonomy, slug

TAXONOMY = Taxonomy()


def catalog(**changes: str) -> dict[str, str]:
    row = {
        "articleType": "Tshirts", "masterCategory": "Apparel", "gender": "Men", "baseColour": "Navy Blue",
        "season": "Summer", "usage": "Casual", "productDisplayName": "Lee Men Striped Polo T-shirt",
    }  # fmt: skip
    return TAXONOMY.cells("catalog", row | changes)


def test_slug() -> None:
    assert slug("Perfume and Body Mist") == "perfume_and_body_mist"


def test_catalog_row() -> None:
    cells = catalog()
    assert cells["category"] == "tshirts"
    assert cells["department"] == "apparel"
    assert cells["base_color"] == "navy_blue"
    assert (cells["pattern"], cells["neckline"], cells["sleeve_length"]) == ("striped", "polo", "short")
    assert set(cells) == set(HEADS)


def test_contradicting_title_is_unknown() -> None:
    assert catalog(productDisplayName="Arrow Women Stripes Solid Grey Sweaters")["pattern"] == ""


def test_brand_names_are_not_patterns() -> None:
    assert catalog(productDisplayName="Autograph Men Navy T-shirt")["pattern"] == ""


def test_a_brand_is_no_neckline() -> None:
    polo = {"productDisplayName": "U.S. Polo Assn. Men Printed Navy Blue T-shirt"}
    assert catalog(**polo)["neckline"] == ""
    assert catalog(**polo, articleType="Shirts")["neckline"] == "shirt_collar"
    assert catalog(productDisplayName="U.S. Polo Assn. Men Striped Polo T-shirt")["neckline"] == "polo"
    assert catalog(productDisplayName="Regent Polo Club Men Solid Green Polo Tshirt")["neckline"] == "polo"


def test_shoes_have_no_sleeves() -> None:
    cells = catalog(articleType="Casual Shoes", masterCategory="Footwear", productDisplayName="Nike Men Half Cab Polo")
    assert cells["sleeve_length"] == cells["neckline"] == cells["pattern"] == ""


def test_unknown_color_is_blank_and_rare_ones_merge() -> None:
    assert catalog(baseColour="NA")["base_color"] == ""
    assert catalog(baseColour="Rust")["base_color"] == "brown|orange"


def test_every_color_rule_uses_labels_of_the_head() -> None:
    rules = TAXONOMY.rules["base_color"]
    named = [*rules["merge"].values(), *rules["worn"].values(), *(label for _, label in rules["home"] if label)]
    assert {part for value in named for part in value.split("|")} <= set(rules["labels"])


def test_garments_are_coarse() -> None:
    cells = TAXONOMY.cells("garments", {"label": "Pants", "kids": "True"})
    assert "jeans" in cells["category"].split("|")
    assert cells["gender"] == "boys|girls"
    assert TAXONOMY.cells("garments", {"label": "Not sure", "kids": "False"})["department"] == ""


def test_home_types() -> None:
    def kind(text: str) -> str:
        return TAXONOMY.cells("home", {"type": text, "color": "White,pine"})["category"]

    assert kind("Chair cushion, outdoor") == "cushion"
    assert kind("Table lamp") == "lamp"
    assert kind("Coffee table") == "table"
    assert kind("Wall clock") == "clock"
    assert kind("Chest of 3 drawers") == "chest_of_drawers"
    assert kind("Wood stain, outdoor use") == "other_home"


def test_rare_categories_fold_into_the_department() -> None:
    rows = [{"category": "sarees", "department": "apparel"}, *[{"category": "tops", "department": "apparel"}] * 8,
            {"category": "tops|sarees", "department": "apparel"}]  # fmt: skip
    rows = [dict(r) for r in rows]
    fold_rare(rows, 8)
    assert [r["category"] for r in rows] == ["other_apparel", *["tops"] * 8, "tops"]


def test_applies_to() -> None:
    categories = ["tshirts", "watches", "chair", "other_home"]
    assert TAXONOMY.applies_to("sleeve_length", categories) == ["tshirts"]
    assert TAXONOMY.applies_to("gender", categories) == ["tshirts", "watches"]
    assert TAXONOMY.applies_to("base_color", categories) is None


def test_sources_are_checked() -> None:
    assert options.source_list("garments, fabric") == ["garments", "fabric"]
    with pytest.raises(argparse.ArgumentTypeError, match="instagram"):
        options.source_list("garments,instagram")
