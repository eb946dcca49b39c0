"""What artifex-gan brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, TargetRecord, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="generative adversarial networks")
OF_VECTORS_TOO = ("cgan", "dcgan", "lsgan", "wgan", "wgan_gp", "r3gan")  # by perceptrons


def _record(
    name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str, module: str | None = None
) -> ModelRecord:
    module = f"artifex.gan.{module or name}"
    return ModelRecord(
        name=name,
        family="gan",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.gan.examples:{name}",
        modalities=("image", "tabular") if name in OF_VECTORS_TOO else ("image",),
        capabilities=capabilities,
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The variants, in order of year."""
    return (
        _record("cgan", "CGAN", "the class is joined to what both sides see",
                "Mirza & Osindero, Conditional Generative Adversarial Nets, arXiv:1411.1784", 2014, "conditional"),
        _record("dcgan", "DCGAN", "strided convolutions with batch normalisation",
                "Radford, Metz & Chintala, Deep Convolutional GANs, arXiv:1511.06434", 2016),
        _record("lsgan", "LSGAN", "least squares in place of the logarithm",
                "Mao et al., Least Squares GANs, arXiv:1611.04076", 2017),
        _record("wgan", "WGAN", "Wasserstein distance, critic held by clipped weights",
                "Arjovsky, Chintala & Bottou, Wasserstein GAN, arXiv:1701.07875", 2017),
        _record("wgan_gp", "WGANGP", "Wasserstein distance, critic held by a gradient penalty",
                "Gulrajani et al., Improved Training of Wasserstein GANs, arXiv:1704.00028", 2017),
        _record("pix2pix", "Pix2Pix", "a picture from another one, learned from pairs",
                "Isola et al., Image-to-Image Translation with Conditional GANs, arXiv:1611.07004", 2017,
                "conditional", "translator"),
        _record("cyclegan", "CycleGAN", "a picture from another one, learned without pairs",
                "Zhu et al., Unpaired Image-to-Image Translation, arXiv:1703.10593", 2017,
                "conditional", "translator"),
        _record("patchgan", "PatchGAN", "patch critics at several scales, with feature matching (pix2pixHD)",
                "Wang et al., High-Resolution Image Synthesis with Conditional GANs, arXiv:1711.11585", 2018,
                "conditional", "translator"),
        _record("projection_gan", "ProjectionGAN", "the class as an inner product in a spectrally normalised critic",
                "Miyato & Koyama, cGANs with Projection Discriminator, arXiv:1802.05637", 2018, "conditional"),
        _record("stylegan3_t", "StyleGAN3T", "pictures that move with their content, without aliasing",
                "Karras et al., Alias-Free GANs, arXiv:2106.12423", 2021, module="stylegan3"),
        _record("stylegan3_r", "StyleGAN3R", "pictures that move and turn with their content",
                "Karras et al., Alias-Free GANs, arXiv:2106.12423", 2021, module="stylegan3"),
        _record("r3gan", "R3GAN", "paired loss, two penalties, plain residual networks: our default",
                "Huang et al., The GAN is dead; long live the GAN!, arXiv:2501.05441", 2024),
    )  # fmt: skip


@hookimpl
def register_datasets() -> tuple[TargetRecord, ...]:
    """Data sets of two kinds of pictures."""
    return (
        TargetRecord("paired", "artifex.gan.domains:paired", "picture i of one data set with picture i of another"),
        TargetRecord("unpaired", "artifex.gan.domains:unpaired", "pictures of two data sets, drawn independently"),
    )
