"""Pieces of the page: escaped text, tables, and charts as SVG that need no script and no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from .. import photos

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2024; background: #fff }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5d9dd } h3 { margin: 1.5rem 0 .4rem }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem } td, th { padding: .18rem .6rem; text-align: right }
th { border-bottom: 1px solid #b8bec4; font-weight: 600 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f6f7f8 } .good { color: #116329 } .bad { color: #b42318 } .faint { color: #66707a }
.verdict { padding: .8rem 1rem; border-left: .4rem solid #b42318; background: #fdf3f2 }
.verdict.promoted { border-color: #116329; background: #f0f8f2 }
.photos { display: flex; flex-wrap: wrap; gap: .7rem } figure { margin: 0; width: 112px; font-size: .78rem; line-height: 1.25 }
figure img { width: 112px; height: 140px; object-fit: contain; background: #f2f3f4; display: block } .row { margin: .7rem 0 }
details { margin: .4rem 0 } summary { cursor: pointer } .charts { display: flex; flex-wrap: wrap; gap: 1.5rem }
figcaption { overflow-wrap: anywhere } .words td, .words th { text-align: left }
.heat td { text-align: center; min-width: 1.4rem } .scroll { overflow-x: auto }
@media (prefers-color-scheme: dark) { body { color: #e4e7ea; background: #16191c } tr:nth-child(even) td { background: #1e2226 }
 .verdict { background: #2a1a19 } .verdict.promoted { background: #15241a } figure img { background: #22262a }
 .good { color: #6fcf8e } .bad { color: #ff8a7d } svg text { fill: #c9ced3 } }
"""


def text(value: object) -> str:
    """Escaped."""
    return html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """A table; cells that are already markup come as Markup."""
    top = "".join(f"<th>{text(h)}</th>" for h in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if isinstance(cell, Markup) else text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table class="{kind}"><tr>{top}</tr>{body}</table></div>'


class Markup(str):
    """Text that is markup already."""


def signed(value: float, digits: int = 4) -> Markup:
    """A difference, green when up and red when down."""
    kind = "good" if value > 0 else "bad" if value < 0 else "faint"
    return Markup(f'<span class="{kind}">{value:+.{digits}f}</span>')


def heat(value: float) -> Markup:
    """A cell shaded by a share from 0 to 1."""
    shown = f"{100 * value:.0f}" if value >= 0.005 else ""
    return Markup(f'<span style="display:block;background:rgba(38,100,180,{min(1.0, value):.2f});padding:0 .2rem">{shown}</span>')


def reliability(points: list[tuple[float, float, int]], title: str) -> str:
    """Confidence against share right, (mean confidence, share, photos) a bin; the diagonal is perfect calibration."""
    side, pad = 180, 28
    most = max((n for _, _, n in points), default=1)

    def at(x: float, y: float) -> tuple[float, float]:
        return pad + x * side, pad + (1 - y) * side

    dots = "".join(
        f'<circle cx="{at(c, r)[0]:.1f}" cy="{at(c, r)[1]:.1f}" r="{2 + 6 * (n / most) ** 0.5:.1f}" fill="#2664b4">'
        f"<title>{n} photos: confidence {c:.2f}, right {r:.2f}</title></circle>"
        for c, r, n in points
    )
    (x0, y0), (x1, y1) = at(0, 0), at(1, 1)
    return (
        f'<svg width="{side + 2 * pad}" height="{side + 2 * pad}" role="img" aria-label="reliability of {text(title)}">'
        f'<rect x="{pad}" y="{pad}" width="{side}" height="{side}" fill="none" stroke="#b8bec4"/>'
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#b8bec4" stroke-dasharray="4 3"/>{dots}'
        f'<text x="{pad}" y="18" font-size="12">{text(title)}</text>'
        f'<text x="{pad}" y="{side + 2 * pad - 8}" font-size="11">confidence</text></svg>'
    )


def bars(names: Sequence[str], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Horizontal bars of shares, one color a series."""
    colors = ("#2664b4", "#d98324", "#66707a")
    high, left, width = 9 * len(series) + 5, 130, 260
    most = max((v for values in series.values() for v in values), default=1.0) or 1.0
    parts = [f'<text x="0" y="13" font-size="12">{text(title)}</text>']
    for i, name in enumerate(names):
        y = 24 + i * high
        parts.append(f'<text x="{left - 6}" y="{y + high / 2 + 3}" font-size="11" text-anchor="end">{text(name)}</text>')
        for k, (what, values) in enumerate(series.items()):
            parts.append(f'<rect x="{left}" y="{y + 9 * k}" width="{width * values[i] / most:.1f}" height="8" fill="{colors[k]}">'
                         f"<title>{text(what)}: {100 * values[i]:.1f} %</title></rect>")  # fmt: skip
    legend = "".join(
        f'<rect x="{left + 110 * k}" y="{30 + len(names) * high}" width="9" height="9" fill="{colors[k]}"/>'
        f'<text x="{left + 13 + 110 * k}" y="{39 + len(names) * high}" font-size="11">{text(what)}</text>'
        for k, what in enumerate(series)
    )
    return f'<svg width="{left + width + 10}" height="{48 + len(names) * high}" role="img">{"".join(parts)}{legend}</svg>'


def picture(file: Path, caption: str) -> str:
    """A photo, small and inside the page; one that cannot be read is said so."""
    try:
        image = photos.load(file)
        image.thumbnail((168, 210), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=72)
        source = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        return f'<figure><img src="{source}" alt=""><figcaption>{caption}</figcaption></figure>'
    except (OSError, ValueError):
        return f"<figure>photo not readable<figcaption>{caption}</figcaption></figure>"
