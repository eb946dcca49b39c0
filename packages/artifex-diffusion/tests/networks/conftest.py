"""Networks of other libraries on equal weights and inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.diffusion.weights import KeyMap, load_weights


class Peers:
    """What the parity tests do with a network of another library."""

    @staticmethod
    def drawn(model):
        """A torch module whose parameters are all drawn, none at its initial value."""
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn(p.shape))
        return model.eval()

    @staticmethod
    def tensors_of(model) -> dict[str, jax.Array]:
        """Its tensors by name."""
        return {name: jnp.asarray(x.numpy()) for name, x in model.state_dict().items()}

    @staticmethod
    def loaded(module: nnx.Module, other, keys: KeyMap) -> nnx.Module:
        """Our module with the weights of another, or with tensors by name."""
        load_weights(module, other if isinstance(other, dict) else Peers.tensors_of(other), keys)
        return module

    @staticmethod
    def called(module: nnx.Module, *inputs, method=None) -> np.ndarray:
        """A compiled call."""
        layout, arrays = flatten(module)
        call = method or type(module).__call__
        return np.asarray(jax.jit(lambda arrays, inputs: call(merge(layout, arrays), *inputs))(arrays, inputs))

    @staticmethod
    def relative(ours, theirs) -> float:
        """The largest difference over the largest entry."""
        theirs = np.asarray(theirs)
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.fixture(scope="session")
def peers() -> type[Peers]:
    return Peers
