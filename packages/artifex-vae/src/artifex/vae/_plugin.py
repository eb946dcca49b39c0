"""What artifex-vae brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, ShardingRule, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="variational autoencoders")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    module = f"artifex.vae.{name}"
    return ModelRecord(
        name=name,
        family="vae",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.vae.examples:{name}",
        modalities=("image",) if name == "vq_vae" else ("image", "tabular"),
        capabilities=capabilities,
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The variants, in order of year."""
    return (
        _record("vae", "VAE", "one Gaussian code, lower bound of log p(x)",
                "Kingma & Welling, Auto-Encoding Variational Bayes, arXiv:1312.6114", 2013, "autoencoder"),
        _record("conditional_vae", "ConditionalVAE", "encoder, decoder and prior see a class or a vector",
                "Sohn, Lee & Yan, Learning Structured Output Representation, NeurIPS 2015", 2015, "conditional"),
        _record("iwae", "IWAE", "tighter bound from k draws, doubly reparameterised gradient",
                "Burda et al., arXiv:1509.00519; Tucker et al., arXiv:1810.04152", 2015, "autoencoder"),
        _record("hierarchical_vae", "HierarchicalVAE", "ladder of stochastic levels",
                "Sonderby et al., Ladder Variational Autoencoders, arXiv:1602.02282", 2016, "autoencoder"),
        _record("beta_vae", "BetaVAE", "heavier KL term, or KL held at a capacity",
                "Higgins et al., beta-VAE, ICLR 2017; Burgess et al., arXiv:1804.03599", 2017, "autoencoder"),
        _record("vq_vae", "VQVAE", "a discrete code for each position",
                "van den Oord, Vinyals & Kavukcuoglu, arXiv:1711.00937", 2017, "autoencoder"),
        _record("beta_tc_vae", "BetaTCVAE", "weight on the total correlation of the codes",
                "Chen et al., Isolating Sources of Disentanglement, arXiv:1802.04942", 2018, "autoencoder"),
    )  # fmt: skip


@hookimpl
def register_sharding_rules() -> tuple[ShardingRule, ...]:
    """Layers of an encoder or decoder by turns split by column and by row, so that two of them meet once."""
    layers = r"^coder/(encoder|decoder)/mlp/layers"
    return (
        ShardingRule(layers + r"/\d*[02468]/kernel$", (None, "tensor")),
        ShardingRule(layers + r"/\d*[02468]/bias$", ("tensor",)),
        ShardingRule(layers + r"/\d*[13579]/kernel$", ("tensor", None)),
    )
