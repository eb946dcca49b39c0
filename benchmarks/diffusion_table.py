"""Distance to the data against evaluations of the network, for diffusion_mnist.py and diffusion_digits.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from artifex.diffusion.multistep import DPMSolver
from artifex.diffusion.solver import DDIMSolver, Heun

EVALUATIONS = (5, 10, 20, 50, 100)
SOLVERS: dict[str, tuple[Any, int]] = {  # solver, evaluations a step
    "DDIM": (DDIMSolver(), 1),
    "DDIM, η = 1": (DDIMSolver(eta=1.0), 1),
    "Heun": (Heun(), 2),
    "DPM-Solver++ 2M": (DPMSolver(), 1),
}
Distances = dict[str, dict[str, np.ndarray]]  # model, solver: a row a seed


class Trained(NamedTuple):
    """A model, how it is asked, and how its samples become pictures in [0, 1]."""

    model: Any
    pictures: Callable[[np.ndarray], np.ndarray]
    budget: str
    options: dict[str, Any]
    n_samples: int
    velocity: bool = False  # the slope of Heun's rule where sampling starts with no signal, or next to none

    def draw(self, seed: int, **options: Any) -> np.ndarray:
        """Pictures."""
        x = self.model.sample(self.n_samples, rngs=nnx.Rngs(100 + seed), **options, **self.options)
        return self.pictures(np.asarray(x))


def against_evaluations(it: Trained, seed: int, distance: Callable[[np.ndarray], float]) -> None:
    """Print a row a solver."""
    print(f"  {'evaluations':<18}" + "".join(f"{calls:>8}" for calls in EVALUATIONS), flush=True)
    for label, (solver, calls) in SOLVERS.items():
        if label == "Heun" and it.velocity:
            solver = Heun(slope="velocity")
        # The last step of Heun's rule is one call.
        steps = [(count + 1) // 2 if calls == 2 else count for count in EVALUATIONS]
        row = [distance(it.draw(seed, solver=solver, steps=count)) for count in steps]
        print(f"  {label:<18}" + "".join(map(number, row)), flush=True)


def number(cell: float) -> str:
    """Three or four digits."""
    return f"{cell:8.1f}" if cell >= 10 else f"{cell:8.2f}"


def read(path: Path) -> Distances:
    """The distances that were printed into a file, each model under a line `NAME, seed N: …`."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    name = ""
    for line in path.read_text(encoding="utf8").splitlines():
        name = line.split(",")[0] if ", seed " in line else name
        label, cells = line[2:20].strip(), line[20:].split()
        if label in SOLVERS and len(cells) == len(EVALUATIONS):
            found.setdefault(name, {}).setdefault(label, []).append([float(cell) for cell in cells])
    return {name: {label: np.array(seeds) for label, seeds in of.items()} for name, of in found.items()}


def summary(path: Path, measure: str) -> None:
    """Medians over seeds, and the picture."""
    found = read(path)
    print(f"\nmedians over seeds of {measure}")
    print(f"  {'model':<18}{'solver':<18}{'seeds':>5}" + "".join(f"{n:>8}" for n in EVALUATIONS))
    for name, of in found.items():
        for label, seeds in of.items():
            cells = "".join(map(number, np.median(seeds, 0)))
            print(f"  {name:<18}{label:<18}{len(seeds):>5}{cells}")
    path.with_suffix(".svg").write_text(chart(found, measure), encoding="utf8")


def chart(found: Distances, measure: str) -> str:
    """A panel a model, both axes logarithmic, a line a solver."""
    medians = np.log(np.array([[np.median(seeds, 0) for seeds in of.values()] for of in found.values()]))
    low, high = medians.min() - 0.1, medians.max() + 0.1
    height = lambda value: np.interp(value, [low, high], [240, 30])  # noqa: E731
    ticks = [a * 10.0**b for b in range(-3, 4) for a in (1, 2, 5)]
    lines = []
    for panel, (name, rows_of) in enumerate(zip(found, medians, strict=True)):
        left = 50 + 170 * panel
        x = np.interp(np.log(EVALUATIONS), np.log([EVALUATIONS[0], EVALUATIONS[-1]]), [left, left + 140])
        lines.append(f'<text x="{left + 70}" y="18" text-anchor="middle">{name}</text>')
        lines += [
            f'<text x="{a:.0f}" y="258" text-anchor="middle">{n}</text>' for a, n in zip(x, EVALUATIONS, strict=True)
        ]
        for tick in (t for t in ticks if low < np.log(t) < high):
            lines.append(f'<path d="M{left} {height(np.log(tick)):.0f}h140" stroke="#ddd"/>')
            if panel == 0:
                lines.append(f'<text x="44" y="{height(np.log(tick)) + 4:.0f}" text-anchor="end">{tick:g}</text>')
        for i, row in enumerate(rows_of):
            way = "L".join(f"{a:.1f} {height(b):.1f}" for a, b in zip(x, row, strict=True))
            lines.append(f'<path d="M{way}" fill="none" stroke="{colour(i)}" stroke-width="2"/>')
    for i, label in enumerate(SOLVERS):
        lines.append(f'<text x="{50 + 150 * i}" y="300" fill="{colour(i)}">{label}</text>')
    lines.append(f'<text x="50" y="322">{measure}, against evaluations</text>')
    style = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {60 + 170 * len(found)} 335" {style}>'
    return "\n".join([head, *lines, "</svg>", ""])


def colour(i: int) -> str:
    """That of a solver."""
    return f"hsl({i * 360 // len(SOLVERS)} 65% 42%)"
