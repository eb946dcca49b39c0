"""What artifex-diffusion brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="diffusion models")
OF_PICTURES = ("autoencoder_kl", "dit", "latent_diffusion", "stable_diffusion")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    file = "guided" if name == "guided_diffusion" else name
    module = f"artifex.diffusion.{file}"
    return ModelRecord(
        name=name,
        family="diffusion",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.diffusion.examples:{file}",
        modalities=("image",) if name in OF_PICTURES else ("image", "tabular"),
        capabilities=capabilities,
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The variants, in order of year."""
    return (
        _record("ncsn", "NCSN", "scores at a few levels of noise, annealed Langevin dynamics",
                "Song & Ermon, Generative Modeling by Estimating Gradients, arXiv:1907.05600", 2019),
        _record("ddpm", "DDPM", "noise taken away in T steps; fixed or learned variance",
                "Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, arXiv:2006.11239", 2020),
        _record("ddim", "DDIM", "the same training, sampled in a few steps, and inverted",
                "Song, Meng & Ermon, Denoising Diffusion Implicit Models, arXiv:2010.02502", 2021),
        _record("score_sde", "ScoreSDE", "scores in continuous time: VP, VE or sub-VP; likelihood by the flow",
                "Song et al., Score-Based Generative Modeling through SDEs, arXiv:2011.13456", 2021, "likelihood"),
        _record("guided_diffusion", "GuidedDiffusion", "towards a class, by dropped labels or by a classifier",
                "Dhariwal & Nichol, Diffusion Models Beat GANs, arXiv:2105.05233", 2021, "conditional"),
        _record("stable_diffusion", "StableDiffusion", "pictures from sentences, with published weights from a folder",
                "Rombach et al., High-Resolution Image Synthesis, arXiv:2112.10752", 2022, "conditional"),
        _record("autoencoder_kl", "AutoencoderKL", "the autoencoder of latent diffusion, judged by patches",
                "Rombach et al., High-Resolution Image Synthesis, arXiv:2112.10752", 2022, "autoencoder"),
        _record("latent_diffusion", "LatentDiffusion", "any diffusion model on the codes of any autoencoder",
                "Rombach et al., High-Resolution Image Synthesis, arXiv:2112.10752", 2022),
        _record("edm", "EDM", "scaled network, noise levels by design, Heun's rule in 35 calls",
                "Karras et al., Elucidating the Design Space, arXiv:2206.00364", 2022),
        _record("flow_matching", "FlowMatching", "a velocity along straight lines; exact likelihood",
                "Lipman et al., Flow Matching for Generative Modeling, arXiv:2210.02747", 2023, "likelihood"),
        _record("dit", "DiT", "transformer over patches, moved by noise level and class",
                "Peebles & Xie, Scalable Diffusion Models with Transformers, arXiv:2212.09748", 2023, "conditional"),
    )  # fmt: skip
