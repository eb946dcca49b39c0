"""What artifex-flow brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="normalizing flows")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    module = f"artifex.flow.{name}"
    return ModelRecord(
        name=name,
        family="flow",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.flow.examples:{name}",
        modalities=("image",) if name in ("glow", "realnvp_image") else ("tabular",),
        capabilities=("likelihood", "bijective", *capabilities),
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The recipes, in order of year."""
    return (
        _record("iaf", "IAF", "gated autoregressive steps from base to data; samples in one pass",
                "Kingma et al., Inverse Autoregressive Flow, arXiv:1606.04934", 2016),
        _record("realnvp", "RealNVP", "affine couplings of vectors",
                "Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP, arXiv:1605.08803", 2016),
        _record("maf", "MAF", "affine autoregressive steps; densities in one pass",
                "Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow, arXiv:1705.07057", 2017),
        _record("realnvp_image", "RealNVPImage", "affine couplings of pictures under checkerboard and channel masks",
                "Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP, arXiv:1605.08803", 2016),
        _record("glow", "Glow", "ActNorm, 1x1 convolutions and couplings of pictures at several scales",
                "Kingma & Dhariwal, Glow, arXiv:1807.03039", 2018),
        _record("cnf", "CNF", "an ordinary differential equation from data to base",
                "Chen et al., Neural ODEs, arXiv:1806.07366; Grathwohl et al., FFJORD, arXiv:1810.01367", 2018),
        _record("neural_spline", "NeuralSpline", "rational-quadratic splines, coupled or autoregressive",
                "Durkan et al., Neural Spline Flows, arXiv:1906.04032", 2019),
        _record("conditional_flow", "ConditionalFlow", "a condition in every layer and in the base",
                "Winkler et al., Conditional Normalizing Flows, arXiv:1912.00042", 2019, "conditional"),
        _record("circular_nsf", "CircularNSF", "splines on circles, a density of angles",
                "Rezende et al., Normalizing Flows on Tori and Spheres, arXiv:2002.02428", 2020),
    )  # fmt: skip
