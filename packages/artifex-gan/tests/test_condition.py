"""How the class enters: by its own scale and offset, by projection, by joining; and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.nn.init import glorot_uniform
from artifex.gan.cgan import CGAN, Joined
from artifex.gan.condition import ConditionalBatchNorm, Projection, one_each, one_hot
from artifex.gan.examples import cgan
from artifex.gan.spectral import matrix

RNG = np.random.default_rng(0)


def test_conditional_batch_norm_equals_the_plain_one_with_the_class_scale():
    torch = pytest.importorskip("torch")
    norm = ConditionalBatchNorm(3, 2, rngs=nnx.Rngs(0))
    norm.scale[...], norm.offset[...] = jnp.asarray(RNG.standard_normal((2, 3, 2)), jnp.float32)
    h = RNG.standard_normal((5, 4, 4, 2)).astype(np.float32)
    y = np.array([0, 2, 1, 2, 0])
    theirs = torch.nn.BatchNorm2d(2, affine=False)(torch.tensor(h).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    scale, offset = (np.asarray(table[...])[y][:, None, None] for table in (norm.scale, norm.offset))
    np.testing.assert_allclose(norm(jnp.asarray(h), jnp.asarray(y)), scale * theirs + offset, atol=1e-5)


def test_projection_is_a_linear_logit_and_an_inner_product_with_the_class():
    head = Projection(3, 4, glorot_uniform(), rngs=nnx.Rngs(0))
    head.eval()
    phi, y = RNG.standard_normal((6, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    psi, classes = (
        np.asarray(matrix(part.layer.kernel[...])) / float(part.sigma()) for part in (head.plain, head.classes)
    )
    expected = (phi @ psi)[:, 0] + (classes[y] * phi).sum(1)
    np.testing.assert_allclose(head(jnp.asarray(phi), jnp.asarray(y)), expected, rtol=1e-5, atol=1e-6)


def test_a_picture_is_joined_to_its_class_at_each_pixel():
    seen = Joined(lambda x: x, 3)(jnp.full((2, 4, 4, 1), 7.0), jnp.array([0, 2]))
    np.testing.assert_array_equal(seen[1, 3, 3], [7.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(seen[0, 0, 2], [7.0, 1.0, 0.0, 0.0])


def test_the_class_reaches_both_sides():
    config, batch = cgan()
    model = CGAN(config, rngs=nnx.Rngs(0))
    z = jnp.ones((1, 4))
    x = [model.generator(z, jnp.array([y])) for y in (0, 1)]
    assert float(jnp.abs(x[0] - x[1]).max()) > 0
    rows = jnp.asarray(batch["x"])
    logits = [model.discriminator(rows, jnp.full(16, y)) for y in (0, 1)]
    assert float(jnp.abs(logits[0] - logits[1]).max()) > 0


def test_one_class_stands_for_all_rows():
    np.testing.assert_array_equal(one_each("here", 2, 3, 5), [2, 2, 2])
    np.testing.assert_array_equal(one_each("here", np.array([1, 0]), 2, 5), [1, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "here: expected a class y, got none. Pass one from 0 to 4"),
        (5, "expected classes y from 0 to 4, got 5"),
        (np.array([0, -1]), r"expected classes y from 0 to 4, got \[0, -1\]"),
        (np.array([0, 1, 2]), "expected one class y or 2, got 3"),
    ],
)
def test_wrong_classes_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        one_each("here", y, 2, 5)


def test_a_class_out_of_range_is_nan_where_its_value_is_not_known():
    e = jax.jit(lambda y: one_hot(y, 3))(jnp.array([0, 3]))
    np.testing.assert_array_equal(e[0], [1, 0, 0])
    assert bool(jnp.isnan(e[1]).all())


def test_data_with_other_classes_are_refused():
    config, _ = cgan()
    with pytest.raises(ValueError, match=r"expected data with 2 classes y, got 10\. Set model.n_classes to 10"):
        CGAN(config, rngs=nnx.Rngs(0)).check_data(DataSpec(shape=(8, 8, 1), low=-1.0, high=1.0, n_classes=10))


def test_a_conditional_model_needs_a_class():
    config, _ = cgan()
    with pytest.raises(ValueError, match=r"CGAN\.generate: expected a class y, got none"):
        CGAN(config, rngs=nnx.Rngs(0)).sample(2, rngs=nnx.Rngs(0))
