"""taxonomy.toml applied: one label row of a source becomes one cell per head.

Why apart from prepare: pure functions of a row, so that every rule is tested without a photo.
"""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import Any

HEADS = ("category", "department", "gender", "pattern", "neckline", "sleeve_length", "season", "usage", "base_color")
FILE = Path(__file__).with_name("taxonomy.toml")

Row = dict[str, str]
Cells = dict[str, str]


def slug(text: str) -> str:
    """`Casual Shoes` to `casual_shoes`."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


@functools.cache
def read(path: Path) -> dict[str, Any]:
    """The file, read once a process: some callers ask for every photo."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Taxonomy:
    """The rules of taxonomy.toml."""

    def __init__(self, path: Path = FILE) -> None:
        self.rules = read(path)

    def cells(self, source: str, row: Row) -> Cells:
        """The cell of every head, blank where the source does not say."""
        made = getattr(self, "_" + source)(row)
        return {head: made.get(head, "") for head in HEADS}

    def known(self, head: str) -> set[str]:
        """All labels that a head may have."""
        rules = self.rules[head]
        if head == "department":
            return {*rules["catalog"].values(), "home"}
        if head in ("category", "base_color"):
            return set(rules["labels"])
        if "labels" in rules:
            return set(rules["labels"].values())
        return {*rules["titles"], *rules.get("by_category", {}).values()}

    def applies_to(self, head: str, categories: list[str]) -> list[str] | None:
        """Those of `categories` for which a head makes sense; None: all."""
        if self.rules[head].get("applies_not_to") == ["home"]:
            home = {*self.rules["category"]["home"], "other_home"}
            return [c for c in categories if c not in home]
        names = self.rules[head].get("applies_to")
        if names is None:
            return None
        wanted = {c for name in names for c in self.rules["groups"][name]}
        return [c for c in categories if c in wanted]

    def _catalog(self, row: Row) -> Cells:
        shop = {
            "kind": row["articleType"], "department": row["masterCategory"], "gender": row["gender"],
            "colour": row["baseColour"], "usage": row["usage"], "title": row["productDisplayName"],
        }  # fmt: skip
        cells = self._shop(shop, self.rules["department"]["catalog"])
        cells["season"] = self.rules["season"]["labels"].get(row["season"], "")
        return cells

    def _studio(self, row: Row) -> Cells:
        shop = {
            "kind": row["ProductType"], "department": row["Category"], "gender": row["Gender"],
            "colour": row["Colour"], "usage": row["Usage"], "title": row["ProductTitle"],
        }  # fmt: skip
        return self._shop(shop, self.rules["department"]["studio"])

    def _shop(self, row: Row, departments: dict[str, str]) -> Cells:
        rules, category, title = self.rules, slug(row["kind"]), row["title"].lower()
        department = rules["department"]["by_category"].get(category, departments.get(row["department"], ""))
        cells = {
            "category": category,
            "department": department,
            "gender": rules["gender"]["labels"].get(row["gender"], ""),
            "usage": rules["usage"]["labels"].get(row["usage"], ""),
            "base_color": self.color(slug(row["colour"])),
        }
        if department == "apparel":
            cells["pattern"] = self.from_title("pattern", title)
        if category in rules["groups"]["sleeved"]:
            cells["sleeve_length"] = self.from_title("sleeve_length", title) or rules["sleeve_length"]["by_category"].get(
                category, ""
            )
            bare = re.sub(rules["neckline"]["brands"], " ", title)
            cells["neckline"] = self.from_title("neckline", bare) or rules["neckline"]["by_category"].get(category, "")
            if not cells["neckline"] and category == "tshirts" and cells["pattern"] == "printed" and bare == title:
                cells["neckline"] = rules["neckline"]["printed_tshirt"]
        return cells

    def _garments(self, row: Row) -> Cells:
        rules, label = self.rules, row["label"]
        category = rules["category"]["garments"].get(label, "")
        return {
            "category": category,
            "department": rules["department"]["garments"].get(label, "apparel") if category else "",
            "gender": rules["gender"]["garments_kids"] if row["kids"] == "True" else "",
            "neckline": rules["neckline"]["garments"].get(label, ""),
            "sleeve_length": rules["sleeve_length"]["garments"].get(label, ""),
        }

    def _worn(self, row: Row) -> Cells:
        rules = self.rules
        collared = row["collar"] == "2"
        neckline = rules["neckline"]["worn"].get(row["neckline"], "")
        if collared:  # an open collar is coded as V: on a shirt it is a shirt's collar
            neckline = "shirt_collar" if row["category"] == "1" else "shirt_collar|v_neck" if neckline == "v_neck" else ""
        patterns = [label for column, label in rules["pattern"]["worn"].items() if row[column] == "2"]
        colors = [label for column, label in rules["base_color"]["worn"].items() if row[column] == "2"]
        return {
            "category": rules["category"]["worn"].get(row["category"], ""),
            "department": rules["department"]["constant"]["worn"],
            "gender": rules["gender"]["worn"].get(row["gender"], ""),
            "pattern": patterns[0] if len(patterns) == 1 else "",
            "neckline": neckline,
            "sleeve_length": rules["sleeve_length"]["worn"].get(row["sleevelength"], ""),
            "base_color": colors[0] if len(colors) == 1 and row["many_colors"] != "2" else "",
        }

    def _fabric(self, row: Row) -> Cells:
        return {"pattern": self.rules["pattern"]["fabric"].get(row["pattern"], "")}

    def _home(self, row: Row) -> Cells:
        kind = "other_home"
        for name, pattern in self.rules["category"]["home"].items():
            if re.search(pattern, row["type"].lower()):
                kind = name
                break
        first = row["color"].split(",")[0].lower()
        color = next((label for pattern, label in self.rules["base_color"]["home"] if re.search(pattern, first)), "")
        return {"category": kind, "department": "home", "base_color": color}

    def color(self, name: str) -> str:
        """A merchant's colour slug to the labels of the head; unknown ones (NA) to blank."""
        rules = self.rules["base_color"]
        merged = rules["merge"].get(name, name)
        return merged if all(part in rules["labels"] for part in merged.split("|")) else ""

    def from_title(self, head: str, title: str) -> str:
        """The one label whose pattern is in the title; blank for none or several."""
        hits = [label for label, pattern in self.rules[head]["titles"].items() if re.search(pattern, title)]
        return hits[0] if len(hits) == 1 else ""
