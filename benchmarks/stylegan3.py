"""StyleGAN3: equivariance at random weights, and what the filtered nonlinearity costs.

Claims, at 64 pixels with the default configs and magnitudes of the measured pictures:
    stylegan3_t    EQ-T >= 60 dB, between pixels >= 60 dB, EQ-R < 30 dB
    stylegan3_r    EQ-T >= 75 dB, between pixels >= 70 dB, EQ-R >= 65 dB
    products with banded matrices take at most half of the CPU time of the same filters as two-dimensional convolutions
Peer in the same run: the same filters as separable convolutions for each channel.

Times are CPU seconds, the least of `ROUNDS` rounds of one canvas of 84 × 84 × 64, forward and with a gradient.

    python benchmarks/stylegan3.py [pictures] [moves]
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.gan.equivariance import rotation_equivariance, translation_equivariance
from artifex.gan.filters import filtered_leaky_relu, low_pass
from artifex.gan.stylegan3 import (
    StyleGAN3,
    StyleGAN3R,
    StyleGAN3RConfig,
    StyleGAN3T,
    StyleGAN3TConfig,
    filters_between,
    placement,
    schedule,
)

ROUNDS = 3
GATES = {"stylegan3_t": (60, 60, None), "stylegan3_r": (75, 70, 65)}
Act = Callable[[jax.Array], jax.Array]


def renderer(model: StyleGAN3, n: int) -> Callable[..., jax.Array]:
    """Pictures of n styles under (shift, angle)."""
    layout, arrays = flatten(model.generator)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((n, model.config.z_dim)), jnp.float32)

    @jax.jit
    def picture(arrays, by, angle, decay):
        generator = merge(layout, arrays)
        x = generator.synthesis(generator.mapping.style(z, None), placement(by, angle), decay=decay)
        return x, flatten(generator)[1]

    _, arrays = picture(arrays, (0.0, 0.0), 0.0, 0.0)
    return lambda by, angle: picture(arrays, by, angle, 1.0)[0]


def equivariance(model: StyleGAN3, n: int, moves: int) -> tuple[float, float, float]:
    """EQ-T of whole shifts, EQ-T of others, EQ-R, in dB."""
    render, side = renderer(model, n), model.config.shape[0]
    rng = np.random.default_rng(0)
    shifts, angles = rng.uniform(-side / 8, side / 8, (moves, 2)), rng.uniform(0, 2 * np.pi, moves)
    return (
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts.round()]),
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts]),
        rotation_equivariance(render, [float(angle) for angle in angles]),
    )


def convolve(x: jax.Array, taps: np.ndarray, *, up: int, down: int, pad: tuple[int, int]) -> jax.Array:
    """A filter [height, width] on each channel alone."""
    channels = x.shape[-1]
    kernel = jnp.broadcast_to(jnp.asarray(taps, x.dtype)[:, :, None, None], (*taps.shape, 1, channels))
    axes = [(up, down, p) if size > 1 else (1, 1, 0) for size, p in zip(taps.shape, pad, strict=True)]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        [a[1] for a in axes],
        [(a[2], a[2]) for a in axes],
        lhs_dilation=[a[0] for a in axes],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def acts() -> tuple[dict[str, Act], jax.Array]:
    """The nonlinearity of a layer at 64 pixels in three ways, and its canvas."""
    before = schedule(StyleGAN3TConfig())[8]
    up, down = filters_between(before, before, rotation=False)
    entries, fine, factor = before.size + 2, up.rows.shape[1], 2
    raised = 2 * low_pass(12, before.band(2 * before.rate))
    lowered = low_pass(12, before.band(2 * before.rate))
    pad = (fine - 1 + 11 - (entries - 1) * factor) // 2

    def bend(x):
        return jnp.sqrt(2.0) * jax.nn.leaky_relu(x, 0.2)

    def square(x):
        x = convolve(x, np.outer(raised, raised), up=2, down=1, pad=(pad, pad))
        return convolve(bend(x), np.outer(lowered, lowered), up=1, down=2, pad=(0, 0))

    def separable(x):
        x = convolve(x, raised[:, None], up=2, down=1, pad=(pad, 0))
        x = bend(convolve(x, raised[None], up=2, down=1, pad=(0, pad)))
        return convolve(
            convolve(x, lowered[:, None], up=1, down=2, pad=(0, 0)), lowered[None], up=1, down=2, pad=(0, 0)
        )

    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, entries, entries, 64)), jnp.float32)
    return {
        "banded matrices": lambda x: filtered_leaky_relu(x, up, down),
        "separable convolutions": separable,
        "2-D convolutions": square,
    }, x


def seconds(act: Act, x: jax.Array) -> float:
    """CPU seconds of one call, the least of some."""
    run = jax.jit(act)
    run(x).block_until_ready()
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run(x).block_until_ready()
        found.append(time.process_time() - start)
    return min(found)


def report_times() -> None:
    """CPU seconds of the nonlinearity, alone and with its gradient."""
    ways, x = acts()
    reference = np.asarray(ways["2-D convolutions"](x))
    print(f"filtered nonlinearity on {x.shape[1:]}: CPU seconds forward, with gradient, largest difference")
    for name, act in ways.items():
        slope = jax.grad(lambda x, act=act: (act(x) ** 2).sum())
        apart = np.abs(np.asarray(act(x)) - reference).max()
        print(f"  {name:24s} {seconds(act, x):8.4f} {seconds(slope, x):8.4f} {apart:10.1e}", flush=True)


def main() -> None:
    """Print both tables."""
    n, moves = (int(text) for text in (sys.argv[1:] + ["4", "8"][len(sys.argv) - 1 :]))
    print(f"jax {jax.__version__}, {platform.processor() or platform.machine()}, {n} pictures, {moves} moves, seed 0")
    print("model           EQ-T   between   EQ-R   (dB, random weights, 64 pixels)")
    models = {"stylegan3_t": (StyleGAN3T, StyleGAN3TConfig), "stylegan3_r": (StyleGAN3R, StyleGAN3RConfig)}
    for name, (model, config) in models.items():
        found = equivariance(model(config(), rngs=nnx.Rngs(0)), n, moves)
        kept = all(gate is None or value >= gate for value, gate in zip(found, GATES[name], strict=True))
        print(
            f"{name:14s} {found[0]:6.1f} {found[1]:8.1f} {found[2]:7.1f}   {'kept' if kept else 'NOT KEPT'}", flush=True
        )
    report_times()


if __name__ == "__main__":
    main()
