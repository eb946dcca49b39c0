"""Weights of published networks, by a map from our names to theirs.

A parameter of ours is a path, `body/down/0/blocks/1/conv1/kernel`; rules turn it into the published name,
`down_blocks.0.resnets.1.conv1.weight`, and the layout follows,
    affine        ours [in, out]                    published [out, in]                                           (1)
    convolution   ours [height, width, in, out]     published [out, in, height, width]                            (2)
Older published names are first brought to the newer ones. Whatever is missing, left over or of another shape is named
at once, and then nothing is loaded. Files are safetensors: pickles can run code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.flax import load_file

from artifex.core.leaves import assign, flatten

Rules = tuple[tuple[str, str], ...]  # (regular expression, replacement), applied in order
Tensors = Mapping[str, Array]
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
USUAL = ("diffusion_pytorch_model.safetensors", "model.safetensors")


class KeyMap(NamedTuple):
    """How published names follow from ours."""

    rules: Rules  # ours to theirs; a * stands for each of the copies
    aliases: Rules = ()  # other published names to the ones that the rules give
    ignored: str = "$."  # published tensors that hold no parameter; as it stands, none
    copies: int = 1  # how often a parameter of ours is published where its name has a *
    window: int = 1  # side of the published convolution where ours is an affine layer of patches


LEAVES: Rules = ((r"/(kernel|scale|embedding)$", "/weight"), (r"/", "."))
BLOCKS: Rules = (
    (r"^body/", ""),
    (r"\b(down|up)/(\d+)/", r"\1_blocks/\2/"),
    (r"\bmid/", "mid_block/"),
    (r"/blocks/(\d+)/time/", r"/resnets/\1/time_emb_proj/"),
    (r"/blocks/(\d+)/shortcut/", r"/resnets/\1/conv_shortcut/"),
    (r"/blocks/(\d+)/", r"/resnets/\1/"),
    (r"(down|up)_blocks/(\d+)/resize/", r"\1_blocks/\2/\1samplers/0/"),
)
PLACES: Rules = (
    (r"(attentions/\d+)/norm/", r"\1/group_norm/"),
    (r"/attention/(q)uery/|/attention/(k)ey/|/attention/(v)alue/", r"/to_\1\2\3/"),
    (r"/attention/out/", "/to_out/0/"),
)
ENDS: Rules = (
    (r"^(encoder/|decoder/|)inp/", r"\1conv_in/"),
    (r"^(encoder/|decoder/|)norm/", r"\1conv_norm_out/"),
    (r"^(encoder/|decoder/|)out/", r"\1conv_out/"),
    (r"^time/linear(\d)/", r"time_embedding/linear_\1/"),
    (r"^table/rows/", "class_embedding/"),
)
SAME_AS_OLD: Rules = (
    (r"\.query\.", ".to_q."),
    (r"\.key\.", ".to_k."),
    (r"\.value\.", ".to_v."),
    (r"\.proj_attn\.", ".to_out.0."),
)

UNET = KeyMap((*BLOCKS, *PLACES, *ENDS, *LEAVES), SAME_AS_OLD)
CODER = KeyMap(
    (*BLOCKS, *PLACES, (r"^encoder/quant/", "quant_conv/"), (r"^decoder/quant/", "post_quant_conv/"), *ENDS, *LEAVES),
    SAME_AS_OLD,
)
CONDITIONAL_UNET = KeyMap(
    (
        *BLOCKS,
        (r"(attentions/\d+)/(in|out)p?/", r"\1/proj_\2/"),
        (r"/block/", "/transformer_blocks/0/"),
        (r"/among/", "/attn1/"),
        (r"/across/", "/attn2/"),
        (r"/(attn\d)/(q)uery/|/(attn\d)/(k)ey/|/(attn\d)/(v)alue/", r"/\1\3\5/to_\2\4\6/"),
        (r"/(attn\d)/out/", r"/\1/to_out/0/"),
        (r"/mlp/inner/", "/ff/net/0/proj/"),
        (r"/mlp/outer/", "/ff/net/2/"),
        *ENDS,
        *LEAVES,
    )
)
TEXT = KeyMap(
    (
        (r"^table/", "embeddings/token_embedding/"),
        (r"^positions/", "embeddings/position_embedding/"),
        (r"^norm/", "final_layer_norm/"),
        (r"^layers/", "encoder/layers/"),
        (r"/norm(\d)/", r"/layer_norm\1/"),
        (r"/mlp(\d)/", r"/mlp/fc\1/"),
        (r"/attention/(q)uery/|/attention/(k)ey/|/attention/(v)alue/", r"/self_attn/\1\2\3_proj/"),
        (r"/attention/out/", "/self_attn/out_proj/"),
        *LEAVES,
    ),
    aliases=((r"^text_model\.", ""),),
    ignored=r"embeddings\.position_ids$",
)


def transformer_keys(depth: int, patch: int) -> KeyMap:
    """The map of a DiT, whose published form repeats the embedding of time and class in each block."""
    rules = (
        (r"^condition/linear(\d)/", r"transformer_blocks/*/norm1/emb/timestep_embedder/linear_\1/"),
        (r"^condition/table/rows/", "transformer_blocks/*/norm1/emb/class_embedder/embedding_table/"),
        (r"^inp/", "pos_embed/proj/"),
        (r"^modulation/", "proj_out_1/"),
        (r"^out/", "proj_out_2/"),
        (r"^blocks/(\d+)/modulation/", r"transformer_blocks/\1/norm1/linear/"),
        (r"^blocks/(\d+)/mlp1/", r"transformer_blocks/\1/ff/net/0/proj/"),
        (r"^blocks/(\d+)/mlp2/", r"transformer_blocks/\1/ff/net/2/"),
        (r"^blocks/(\d+)/attention/", r"transformer_blocks/\1/attn1/"),
        (r"/(q)uery/|/(k)ey/|/(v)alue/", r"/to_\1\2\3/"),
        (r"/attn1/out/", "/attn1/to_out/0/"),
        *LEAVES,
    )
    return KeyMap(rules, ignored=r"pos_embed\.pos_embed$", copies=depth, window=patch)


def renamed(name: str, rules: Rules) -> str:
    """A name after all rules."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def published_names(path: str, keys: KeyMap) -> tuple[str, ...]:
    """The published names of a parameter of ours: one, or one for each copy."""
    name = renamed(path, keys.rules)
    return tuple(name.replace("*", str(i)) for i in range(keys.copies)) if "*" in name else (name,)


def as_ours(tensor: Array, path: str) -> Array:
    """A published tensor in our layout (eq. 1 and 2)."""
    if not path.endswith("/kernel"):
        return tensor
    return jnp.transpose(tensor, (2, 3, 1, 0)) if tensor.ndim == 4 else tensor.T


def as_published(array: Array, path: str, window: int = 1) -> Array:
    """The inverse of `as_ours`."""
    if not path.endswith("/kernel"):
        return array
    if window > 1:
        array = array.reshape(window, window, -1, array.shape[-1])
    return jnp.transpose(array, (3, 2, 0, 1)) if array.ndim == 4 else array.T


def read_tensors(path: str | Path) -> dict[str, Array]:
    """The tensors of a safetensors file, or of the folder that holds one, in parts or whole.

    Raises:
        ValueError: there is none, there are several, or the file is a pickle or damaged.
    """
    tensors: dict[str, Array] = {}
    for file in weight_files(Path(path)):
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"read_tensors: expected a safetensors file, got {file} ({error}). Fetch the file again."
            ) from error
    return tensors


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that belong together."""
    if path.suffix in PICKLES:
        raise ValueError(
            f"read_tensors: expected a safetensors file, got the pickle {path.name}, which can run code. "
            "Take the .safetensors file of the same weights, or convert it where you trust it."
        )
    if not path.is_dir():
        return [path]
    index = next(iter(sorted(path.glob("*.safetensors.index.json"))), None)
    if index is not None:
        parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [path / part for part in sorted(set(parts))]
    found = sorted(path.glob("*.safetensors"))
    usual = [file for file in found if file.name in USUAL]
    if len(found) == 1 or usual:
        return (usual or found)[:1]
    pickles = [file.name for file in sorted(path.iterdir()) if file.suffix in PICKLES]
    got = [file.name for file in found] or pickles or "none"
    raise ValueError(
        f"read_tensors: expected one safetensors file in {path}, got {got}. Give the path of the file"
        f"{', not of a pickle, which can run code' if pickles else ''}."
    )


def load_weights(module: nnx.Module, tensors: Tensors, keys: KeyMap) -> None:
    """Write published tensors into a module, in its dtypes.

    Raises:
        ValueError: with every tensor that is missing, left over, of another shape, or unequal to its copy.
    """
    _, own = flatten(module)
    given = {renamed(name, keys.aliases): x for name, x in tensors.items()}
    given = {name: x for name, x in given.items() if not re.search(keys.ignored, name)}
    wanted = {path: published_names(path, keys) for path in own}
    wrong = [f"{name} is missing" for names in wanted.values() for name in names if name not in given]
    wrong += [f"{name} is left over" for name in sorted(set(given).difference(*wanted.values()))]
    arrays: dict[str, Array] = {}
    for path, names in wanted.items():
        found = [as_ours(given[name], path) for name in names if name in given]
        wrong += [_misfit(name, given[name], own[path], path) for name in names if name in given]
        if any(x.shape != found[0].shape or not np.array_equal(x, found[0]) for x in found[1:]):
            wrong.append(f"{names[0]} differs from its copies")
        arrays[path] = found[0] if found else own[path]
    if wrong := [line for line in wrong if line]:
        raise ValueError(
            f"load_weights: expected the tensors of {type(module).__name__}, got others: {'; '.join(wrong)}. "
            "Nothing was loaded. Build the network with the config that stands beside the weights."
        )
    assign(module, {path: arrays[path].reshape(own[path].shape).astype(own[path].dtype) for path in own})


def _misfit(name: str, tensor: Array, own: Array, path: str) -> str:
    """What is wrong with a tensor's shape, or nothing."""
    ours = as_ours(tensor, path).shape
    # An affine layer of patches is published as a convolution, and one of places now and then.
    flat = (int(np.prod(ours[:-1])), ours[-1]) if len(ours) == 4 and own.ndim == 2 else ours
    return (
        "" if flat == own.shape else f"{name} is {list(tensor.shape)}, which makes {list(ours)}, not {list(own.shape)}"
    )


def published_weights(module: nnx.Module, keys: KeyMap) -> dict[str, Array]:
    """The module's parameters under their published names and in the published layout."""
    tensors: dict[str, Array] = {}
    for path, array in flatten(module)[1].items():
        window = keys.window if path == "inp/kernel" else 1
        tensors |= dict.fromkeys(published_names(path, keys), as_published(array, path, window))
    return tensors
