"""Stable Diffusion from a folder of published weights.

    FOLDER/unet/config.json, *.safetensors      vae/…      text_encoder/…      scheduler/…      tokenizer/…
The settings beside the weights become our configs; a setting that asks for what our networks do not have is refused by
name, before any tensor is read. Nothing is fetched, and no code of the folder is run.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
from flax import nnx
from jaxtyping import Array, Key

from artifex.core.model import Stream
from artifex.diffusion.autoencoder import CoderConfig
from artifex.diffusion.conditional_unet import ConditionalUNetConfig
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.stable_diffusion import StableDiffusion, StableDiffusionConfig
from artifex.diffusion.text import TextEncoderConfig
from artifex.diffusion.weights import CODER, CONDITIONAL_UNET, TEXT, load_weights, read_tensors

Settings = Mapping[str, Any]
# What each network does, and the only value of a setting that says so.
UNET_IS: Settings = {
    "act_fn": "silu", "addition_embed_type": None, "center_input_sample": False, "class_embed_type": None,
    "conv_in_kernel": 3, "conv_out_kernel": 3, "downsample_padding": 1, "dual_cross_attention": False,
    "encoder_hid_dim": None, "flip_sin_to_cos": True, "freq_shift": 0, "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-5, "num_class_embeds": None,
    "only_cross_attention": False, "resnet_time_scale_shift": "default", "time_embedding_type": "positional",
    "transformer_layers_per_block": 1,
}  # fmt: skip
VAE_IS: Settings = {
    "act_fn": "silu", "latents_mean": None, "mid_block_add_attention": True, "shift_factor": None,
    "use_post_quant_conv": True, "use_quant_conv": True,
}  # fmt: skip
TEXT_IS: Settings = {"layer_norm_eps": 1e-5}
PREDICTIONS: dict[str, Literal["eps", "v"]] = {"epsilon": "eps", "v_prediction": "v"}


def load_stable_diffusion(folder: str | Path) -> StableDiffusion:
    """The model of a published folder, in evaluation mode.

    Raises:
        ValueError: a file is missing, a setting asks for another network, or tensors do not fit.
    """
    path = Path(folder)
    config = published_config(path)
    model = nnx.eval_shape(lambda: StableDiffusion(config, rngs=one_key()))  # random weights would only cost memory
    model.stream = Stream(jax.random.key_data(jax.random.key(0)))
    for part, name, keys in (
        (model.unet, "unet", CONDITIONAL_UNET),
        (model.coder, "vae", CODER),
        (model.text, "text_encoder", TEXT),
    ):
        load_weights(part, read_tensors(path / name), keys)
    model.eval()
    return model


class OneKey(nnx.RngStream):
    """The same key each time. Where only shapes are wanted, keys that move on cost ten times as much to trace."""

    def __call__(self) -> Key[Array, ""]:
        """The key."""
        return self.key[...]


def one_key() -> nnx.Rngs:
    """Random streams that never move on."""
    rngs = nnx.Rngs(0)
    setattr(rngs, "default", OneKey(jax.random.key(0), tag="default"))  # noqa: B010 - a stream is an attribute
    return rngs


def published_config(folder: Path) -> StableDiffusionConfig:
    """The settings of a folder as our config."""
    unet, vae, text = (settings(folder, name) for name in ("unet", "vae", "text_encoder"))
    scheduler = settings(folder, "scheduler") if (folder / "scheduler").is_dir() else {}
    check("unet", unet, UNET_IS)
    check("vae", vae, VAE_IS)
    check("text_encoder", text, TEXT_IS)
    coder = coder_config(vae, unet)
    return StableDiffusionConfig(
        unet=unet_config(unet, coder),
        coder=coder,
        text=text_config(text),
        schedule=Discrete(
            rule=scheduler.get("beta_schedule", "scaled_linear"),
            steps=scheduler.get("num_train_timesteps", 1000),
            beta_start=scheduler.get("beta_start", 0.00085),
            beta_end=scheduler.get("beta_end", 0.012),
        ),
        prediction=PREDICTIONS[scheduler.get("prediction_type", "epsilon")],
        scale=vae["scaling_factor"],
    )


def coder_config(vae: Settings, unet: Settings) -> CoderConfig:
    """The autoencoder that the settings describe, for pictures of the size that the network was trained on."""
    widths = tuple(vae["block_out_channels"])
    side = unet["sample_size"] * 2 ** (len(widths) - 1)
    return CoderConfig(
        shape=(side, side, vae["in_channels"]),
        widths=widths,
        n_blocks=vae["layers_per_block"],
        latent=vae["latent_channels"],
        groups=vae["norm_num_groups"],
    )


def unet_config(unet: Settings, coder: CoderConfig) -> ConditionalUNetConfig:
    """The conditional network that the settings describe."""
    down, up = unet["down_block_types"], unet["up_block_types"]
    attends = tuple(kind == "CrossAttnDownBlock2D" for kind in down)
    mirrored = tuple(kind == "CrossAttnUpBlock2D" for kind in reversed(up))
    known = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
    if attends != mirrored or not known.issuperset({*down, *up}):
        raise ValueError(
            f"load_stable_diffusion: expected the blocks {sorted(known)}, the same on the way down and up, got {down} "
            f"and {up} in unet/config.json. This is another network."
        )
    # The published setting is named for the width of a head and holds their number.
    heads = unet.get("num_attention_heads") or unet["attention_head_dim"]
    return ConditionalUNetConfig(
        shape=coder.latent_shape,
        widths=unet["block_out_channels"],
        n_blocks=unet["layers_per_block"],
        attends=attends,
        n_heads=tuple(heads) if isinstance(heads, list) else (heads,) * len(down),
        context=unet["cross_attention_dim"],
        linear=unet.get("use_linear_projection", False),
        groups=unet["norm_num_groups"],
        out_channels=unet["out_channels"],
    )


def text_config(text: Settings) -> TextEncoderConfig:
    """The text encoder that the settings describe."""
    return TextEncoderConfig(
        n_tokens=text["vocab_size"],
        length=text["max_position_embeddings"],
        width=text["hidden_size"],
        inner=text["intermediate_size"],
        depth=text["num_hidden_layers"],
        n_heads=text["num_attention_heads"],
        activation=text["hidden_act"],
        fill=0 if text["hidden_act"] == "gelu" else None,
    )


def settings(folder: Path, part: str) -> Settings:
    """The settings of a part of the folder."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    if not file.is_file():
        raise ValueError(
            f"load_stable_diffusion: expected {file}, got no such file. The folder holds unet, vae and text_encoder, "
            "each with config.json and a safetensors file."
        )
    return json.loads(file.read_text(encoding="utf-8"))


def check(part: str, given: Settings, only: Settings) -> None:
    """Refuse settings that ask for another network, all at once."""
    wrong = [
        f"{name} = {given[name]!r} (only {value!r})" for name, value in only.items() if given.get(name, value) != value
    ]
    if wrong:
        raise ValueError(
            f"load_stable_diffusion: expected a network that ours is, got {'; '.join(wrong)} in {part}/config.json. "
            "Versions 1 and 2 can be loaded."
        )
