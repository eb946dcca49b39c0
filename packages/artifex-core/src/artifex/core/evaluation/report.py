"""Reports: Markdown, and one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from artifex.core.evaluation.picture import grid_png, picture_of
from artifex.core.evaluation.result import EvaluationResult

Row = Mapping[str, float]
WIDTH, HEIGHT, MARGIN = 640, 220, 44
STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5b6475; --paper: #fbfbfd; --line: #d8dce6; --mark: #1f549e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9f0; --soft: #9aa3b5; --paper: #14171f; --line: #2c3240; --mark: #7fb0f5 }
}
body {
  font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 46rem; margin: 3rem auto; padding: 0 1rem;
}
h1 { font-size: 1.6rem; margin-bottom: .2rem }
h2 { font-size: 1.1rem; margin-top: 2.4rem }
.soft { color: var(--soft) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
td, th { padding: .35rem .6rem; text-align: left; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 500 }
img { max-width: 100%; image-rendering: pixelated; border-radius: 4px }
pre { overflow-x: auto; font-size: .85rem }
svg text { fill: var(--soft); font-size: 11px }
svg path { fill: none; stroke: var(--mark); stroke-width: 1.6 }
svg line { stroke: var(--line) }
"""


def write_report(found: EvaluationResult, folder: Path, history: Sequence[Row] = ()) -> Path:
    """Write `report.md`, `report.html`, and the pictures `samples.png` and `reconstructions.png` beside them."""
    pictures = report_pictures(found)
    for name, content in pictures.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "report.md").write_text(markdown(found), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html_page(found, pictures, history), encoding="utf-8")
    return page


def report_pictures(found: EvaluationResult) -> dict[str, bytes]:
    """PNGs of samples and of reconstructions, where the data are pictures or points."""
    pictures: dict[str, bytes] = {}
    if found.samples is not None:
        shown = found.samples[:64] if found.samples.ndim == 4 else found.samples
        picture = picture_of(shown, span=found.span)
        if picture is not None:
            pictures["samples"] = picture
    if found.reconstructions is not None and found.reconstructions[0].ndim == 4:
        x, again = found.reconstructions
        pictures["reconstructions"] = grid_png(np.concatenate([x, again]), columns=len(x), span=found.span)
    return pictures


def markdown(found: EvaluationResult) -> str:
    """The results as Markdown; equal results give equal bytes."""
    lines = [f"# {found.provenance['model']} on {found.provenance['data']}", ""]
    lines += ["| metric | value | 95 % interval | n | better |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _cells(found)]
    lines += ["", *(f"- left out: {metric} ({reason})" for metric, reason in found.skipped)]
    lines += ["", "```json", json.dumps(dict(found.provenance), indent=2, sort_keys=True), "```"]
    return "\n".join(lines).rstrip() + "\n"


def html_page(found: EvaluationResult, pictures: Mapping[str, bytes], history: Sequence[Row]) -> str:
    """One page with results, pictures, curves, what was left out, and provenance."""
    about = found.provenance
    parts = [
        f"<h1>{html.escape(about['model'])}</h1>",
        f"<p class=soft>on {html.escape(about['data'])}, {about['n']} examples</p>",
    ]
    head = "".join(f"<th>{name}" for name in ("metric", "value", "95 % interval", "n", "better"))
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) for cells in _cells(found))
    parts.append(f"<table><tr>{head}{body}</table>")
    titles = {"samples": "Samples", "reconstructions": "Data, and what the model makes of them"}
    for name, content in pictures.items():
        data = base64.b64encode(content).decode()
        parts.append(f"<h2>{titles[name]}</h2><img alt='{name}' src='data:image/png;base64,{data}'>")
    for name in sorted({key for row in history for key in row if key.split("/")[-1] == "loss"}):
        points = [(row["step"], row[name]) for row in history if name in row]
        if len(points) > 1:
            parts.append(f"<h2>{html.escape(name)}</h2>{curve(points)}")
    if found.skipped:
        items = "".join(f"<li>{html.escape(metric)}: {html.escape(reason)}" for metric, reason in found.skipped)
        parts.append(f"<h2>Left out</h2><ul>{items}</ul>")
    parts.append(f"<h2>Provenance</h2><pre>{html.escape(json.dumps(dict(about), indent=2, sort_keys=True))}</pre>")
    title = f"{html.escape(about['model'])} on {html.escape(about['data'])}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def curve(points: Sequence[tuple[float, float]]) -> str:
    """A line through points as inline SVG; the scale leaves out the highest and lowest hundredth."""
    x, y = np.array(points, float).T
    low, high = np.quantile(y, [0.01, 0.99])
    span_x, span_y = max(x[-1] - x[0], 1e-12), max(high - low, 1e-12)
    left = MARGIN + (x - x[0]) / span_x * (WIDTH - 2 * MARGIN)
    top = HEIGHT - MARGIN - (np.clip(y, low, high) - low) / span_y * (HEIGHT - 2 * MARGIN)
    path = "M" + " L".join(f"{a:.1f},{b:.1f}" for a, b in zip(left, top, strict=True))
    base = HEIGHT - MARGIN
    labels = (
        f"<text x='4' y='{MARGIN}'>{high:.4g}</text><text x='4' y='{base}'>{low:.4g}</text>"
        f"<text x='{MARGIN}' y='{HEIGHT - 24}'>{x[0]:.0f}</text>"
        f"<text x='{WIDTH - MARGIN}' y='{HEIGHT - 24}' text-anchor='end'>step {x[-1]:.0f}</text>"
    )
    axis = f"<line x1='{MARGIN}' y1='{base}' x2='{WIDTH - MARGIN}' y2='{base}'/>"
    return f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>{axis}<path d='{path}'/>{labels}</svg>"


def _cells(found: EvaluationResult) -> list[tuple[str, ...]]:
    rows = []
    for r in found.results:
        flags = f" ({', '.join(r.flags)})" if r.flags else ""
        better = "higher" if r.higher_is_better else "lower"
        rows.append((r.metric + flags, f"{r.value:.4f}", f"{r.ci_low:.4f} to {r.ci_high:.4f}", str(r.n), better))
    return rows
