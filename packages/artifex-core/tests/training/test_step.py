"""One step of training: against loops written by hand with optax."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.leaves import flatten
from artifex.core.model import GenerativeModel
from artifex.core.nn.init import lecun_normal, zeros
from artifex.core.nn.mlp import MLP
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, StepContext, TrainingSpec, training_spec
from artifex.core.training.optimizers import objective_optimizers
from artifex.core.training.state import TrainState, initial_state, ownership
from artifex.core.training.step import Plan, check_losses, harvest, strided, train_step, training_module

RUN = jax.random.key(7)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype(np.float32)
COUNTS = RNG.integers(1, 5, 8).astype(np.float32)
# Two compiled programs of one formula differ by the rounding of their sums; parameters are of size one.
ROUNDING = 2e-7


@dataclass(frozen=True, kw_only=True)
class NetConfig(ModelConfig):
    """A regression of x on itself, with noise."""


class Net(GenerativeModel):
    """x̂ = MLP(x + ε / 10)."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.mlp = MLP([3, 4, 3], activation="tanh", rngs=rngs)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs) -> dict[str, jax.Array]:
        return {"x": self.mlp(x + 0.1 * jax.random.normal(rngs(), x.shape))}

    def loss_fn(self, batch: Mapping[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"loss": jnp.mean((outputs["x"] - batch["x"]) ** 2)}


class TokenNet(Net):
    """Rows that count as often as `tokens` says; no noise."""

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs) -> dict[str, jax.Array]:
        return {"x": self.mlp(x)}

    def loss_fn(self, batch: Mapping[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        rows = jnp.sum((outputs["x"] - batch["x"]) ** 2, axis=-1)
        weight = jnp.sum(batch["tokens"])
        return {"loss": jnp.sum(rows * batch["tokens"]) / weight, "rows": jnp.mean(rows), "weight": weight}


class Memory(nnx.Variable):
    """What a model keeps beside its parameters."""


def started(model: nnx.Module, **settings: Any) -> tuple[Plan, TrainState]:
    """The plan of a run and its first state."""
    settings = {"steps": 6, "batch_size": 8, "optimizer": OptimizerConfig(name="sgd", learning_rate=0.1)} | settings
    config, spec = TrainerConfig(**settings), training_spec(model)
    owned = ownership(model, spec, average=config.ema_decay is not None)
    optimizers = objective_optimizers(spec, config, None)
    plan = Plan(flatten(model)[0], spec, config, owned, optimizers, unroll=False)
    return plan, initial_state(model, owned, optimizers)


def steps(plan: Plan, state: TrainState, batch: Mapping[str, Any], n: int = 1) -> tuple[TrainState, Any, list[int]]:
    """The state after n steps on one batch, the last one's metrics, and what each left out."""
    run, sums, left_out = jax.jit(train_step, static_argnums=0), {}, []
    for _ in range(n):
        state, sums, missed = run(plan, state, {name: jnp.asarray(x) for name, x in batch.items()}, RUN)
        left_out.append(int(missed))
    return state, sums, left_out


def mlp(params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    """The two layers of `Net`, by hand."""
    hidden = jnp.tanh(x @ params["mlp/layers/0/kernel"] + params["mlp/layers/0/bias"])
    return hidden @ params["mlp/layers/1/kernel"] + params["mlp/layers/1/bias"]


def key_of(*numbers: int) -> jax.Array:
    """The key of eq. 1: step, objective, repeat and part are folded in one after the other."""
    key = RUN
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def close(found: Mapping[str, jax.Array], expected: Mapping[str, jax.Array], tolerance: float = ROUNDING) -> None:
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=tolerance, atol=tolerance, err_msg=path)


def test_a_step_is_that_of_a_loop_with_clipping_cosine_schedule_and_averaging() -> None:
    optimizer = OptimizerConfig(
        name="adamw", learning_rate=0.03, schedule="cosine", warmup_steps=2, clip_norm=0.5, weight_decay=0.1
    )
    plan, state = started(Net(NetConfig(), rngs=nnx.Rngs(0)), optimizer=optimizer, ema_decay=0.9)
    params = {path: jnp.array(array) for path, array in state.params.items()}
    rates = [0.03 * min(1, (n + 1) / 2) * 0.5 * (1 + np.cos(np.pi * max(n - 2, 0) / 4)) for n in range(6)]
    tx = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(
            lambda count: jnp.asarray(rates)[count],
            weight_decay=0.1,
            mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim >= 2, tree),
        ),
    )
    opt, mean = tx.init(params), params

    @jax.jit
    def by_hand(params: Any, opt: Any, mean: Any, key: jax.Array, step: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            noise = 0.1 * jax.random.normal(nnx.Rngs(key)(), X.shape)
            return jnp.mean((mlp(params, X + noise) - X) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = tx.update(grads, opt, params)
        params = optax.apply_updates(params, updates)
        decay = jnp.minimum(0.9, (1 + step) / (10 + step))
        mean = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, mean, params)
        return params, opt, mean, value

    value = jnp.zeros(())
    for step in range(6):
        params, opt, mean, value = by_hand(params, opt, mean, key_of(step, 0, 0, 0), jnp.asarray(step))
    state, sums, _ = steps(plan, state, {"x": X}, 6)
    assert int(state.step) == 6
    close(state.params, params)
    close(state.ema, mean)
    np.testing.assert_allclose(sums["loss"], [value, 1.0], rtol=1e-6)


class Duel(GenerativeModel):
    """Two vectors, each with an objective of its own; draws are remembered in the order in which they were made."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.critic = nnx.Param(jnp.ones(3))
        self.actor = nnx.Param(jnp.full(3, 2.0))
        self.draws = Memory(jnp.zeros(64))
        self.drawn = Memory(jnp.zeros((), jnp.int32))

    def remember(self, rngs: nnx.Rngs) -> None:
        self.draws[...] = self.draws[...].at[self.drawn[...]].set(jax.random.uniform(rngs()))
        self.drawn[...] += 1

    def training_spec(self) -> TrainingSpec:
        def critic(model: Duel, batch: Any, ctx: StepContext) -> dict[str, jax.Array]:
            model.remember(ctx.rngs)
            return {"loss": jnp.mean((batch["x"] @ model.critic[...] - jnp.sum(model.actor[...])) ** 2)}

        def actor(model: Duel, batch: Any, ctx: StepContext) -> dict[str, jax.Array]:
            model.remember(ctx.rngs)
            return {"loss": jnp.sum(model.actor[...] * model.critic[...]), "size": jnp.sum(model.actor[...])}

        return TrainingSpec(
            objectives=(
                Objective(name="critic", loss=critic, wrt=only("critic"), repeat=2, feed="split"),
                Objective(name="actor", loss=actor, wrt=only("actor"), every=2),
            )
        )


def only(name: str) -> Callable[[tuple[Any, ...], Any], bool]:
    """A filter for the parameters under one attribute."""
    return lambda path, value: path[0] == name and isinstance(value, nnx.Param)


def test_two_objectives_with_repeat_split_and_every_are_those_of_a_loop() -> None:
    plan, state = started(Duel(NetConfig(), rngs=nnx.Rngs(0)))
    critic, actor = np.ones(3), np.full(3, 2.0)
    for step in range(4):
        for part in (X[0::2].astype(float), X[1::2].astype(float)):
            critic = critic - 0.1 * 2 * np.mean((part @ critic - actor.sum())[:, None] * part, axis=0)
        if step % 2 == 0:
            actor = actor - 0.1 * critic
    state, sums, _ = steps(plan, state, {"x": X}, 4)
    np.testing.assert_allclose(state.params["critic"], critic, rtol=1e-5)  # float32 against float64
    np.testing.assert_allclose(state.params["actor"], actor, rtol=1e-5)
    assert sums["critic/loss"][1] == 2.0  # both updates of the step


def test_metrics_of_an_objective_that_rests_have_weight_zero() -> None:
    plan, state = started(Duel(NetConfig(), rngs=nnx.Rngs(0)))
    state, sums, _ = steps(plan, state, {"x": X}, 1)
    assert [float(sums[name][1]) for name in ("actor/loss", "actor/size", "actor/grad_norm")] == [1.0, 1.0, 1.0]
    state, sums, _ = steps(plan, state, {"x": X}, 1)
    assert [sums[name].tolist() for name in ("actor/loss", "actor/size", "actor/grad_norm")] == [[0.0, 0.0]] * 3


def test_keys_follow_step_objective_repeat_and_part_and_never_repeat() -> None:
    plan, state = started(Duel(NetConfig(), rngs=nnx.Rngs(0)), grad_accum=2)
    state, _, _ = steps(plan, state, {"x": X}, 3)
    expected = [
        float(jax.random.uniform(nnx.Rngs(key_of(step, objective, repeat, part))()))
        for step in range(3)
        for objective, repeats in ((0, 2), (1, 1))
        if objective == 0 or step % 2 == 0
        for repeat in range(repeats)
        for part in range(2)
    ]
    assert int(state.variables["drawn"]) == len(expected) == 16
    np.testing.assert_array_equal(state.variables["draws"][:16], np.array(expected, np.float32))
    assert len(set(expected)) == 16


@pytest.mark.parametrize("kind", [TokenNet])
def test_four_parts_give_the_step_of_one_where_the_loss_is_weighted_by_tokens(kind: type[Net]) -> None:
    batch = {"x": X, "tokens": COUNTS}
    ends = []
    for parts in (1, 4):
        plan, state = started(kind(NetConfig(), rngs=nnx.Rngs(0)), grad_accum=parts)
        state, sums, _ = steps(plan, state, batch, 5)
        ends.append((state.params, {name: pair[0] / pair[1] for name, pair in sums.items()}))
    close(ends[1][0], ends[0][0], 1e-6)
    assert float(ends[1][1]["loss"]) == pytest.approx(float(ends[0][1]["loss"]), rel=1e-6)
    assert float(ends[1][1]["grad_norm"]) == pytest.approx(float(ends[0][1]["grad_norm"]), rel=1e-6)


def test_parts_are_weighted_by_their_tokens_and_not_equally() -> None:
    model = TokenNet(NetConfig(), rngs=nnx.Rngs(0))
    plan, state = started(model, grad_accum=2)
    before = {path: np.asarray(array) for path, array in state.params.items()}
    tokens = np.array([1, 100] * 4, np.float32)  # rows 1, 3, 5, 7 are the second part

    def loss(params: Any) -> jax.Array:
        return jnp.sum(tokens[:, None] * (mlp(params, X) - X) ** 2) / tokens.sum()

    grads = jax.grad(loss)(before)
    state, _, _ = steps(plan, state, {"x": X, "tokens": tokens})
    close(state.params, {path: before[path] - 0.1 * grads[path] for path in before}, 1e-6)


def test_parts_are_every_nth_row() -> None:
    parts = strided({"x": jnp.arange(6), "y": jnp.arange(12).reshape(6, 2)}, 3)
    assert parts["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert parts["y"][1].tolist() == [[2, 3], [8, 9]]
    with pytest.raises(ValueError, match="expected a batch that divides into 4 equal parts, got 6 rows"):
        strided({"x": jnp.arange(6)}, 4)


class Fragile(GenerativeModel):
    """θ ← θ − 0.1 mean(x), with a count of passes; a NaN in x makes loss and gradient NaN."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.theta = nnx.Param(jnp.zeros(()))
        self.passes = Memory(jnp.zeros((), jnp.int32))

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs) -> dict[str, jax.Array]:
        self.passes[...] += 1
        return {"x": self.theta[...] * jnp.mean(x)}

    def loss_fn(self, batch: Mapping[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"loss": outputs["x"]}


@pytest.mark.parametrize("policy", ["skip", "raise"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_leaves_parameters_buffers_and_moments(policy: str, bad: float) -> None:
    settings = {"nonfinite": policy, "optimizer": OptimizerConfig(name="adam", learning_rate=0.1), "ema_decay": 0.5}
    plan, state = started(Fragile(NetConfig(), rngs=nnx.Rngs(0)), **settings)
    good, poisoned = np.ones((8, 1), np.float32), np.full((8, 1), bad, np.float32)
    state, _, _ = steps(plan, state, {"x": good}, 2)
    after, sums, left_out = steps(plan, state, {"x": poisoned}, 3)
    assert left_out == [1, 1, 1]
    assert (int(after.bad), int(after.step)) == (3, 5)
    kept = ("params", "variables", "opt_state")
    for a, b in zip(*(jax.tree.leaves([getattr(s, name) for name in kept]) for s in (state, after)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(after.variables["passes"]) == 2
    assert sums["loss"].tolist() == [0.0, 0.0]
    again, _, left_out = steps(plan, after, {"x": good}, 1)
    assert (int(again.bad), left_out, int(again.variables["passes"])) == (0, [0], 3)


def test_without_a_policy_nothing_is_looked_at() -> None:
    plan, state = started(Fragile(NetConfig(), rngs=nnx.Rngs(0)), nonfinite="off")
    state, sums, left_out = steps(plan, state, {"x": np.full((8, 1), np.nan, np.float32)})
    assert left_out == [0]
    assert np.isnan(state.params["theta"])
    assert sorted(sums) == ["loss"]


class Chain(GenerativeModel):
    """An objective whose `prepare` moves a walker, which the loss compares with θ."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.theta = nnx.Param(jnp.ones(()))
        self.walker = Memory(jnp.zeros(()))

    def training_spec(self) -> TrainingSpec:
        def walk(model: Chain, batch: Any, ctx: StepContext) -> None:
            model.walker[...] += model.theta[...] + jnp.mean(batch["x"])

        def loss(model: Chain, batch: Any, ctx: StepContext) -> dict[str, jax.Array]:
            return {"loss": model.theta[...] * model.walker[...]}

        return TrainingSpec(objectives=(Objective(name="energy", loss=loss, prepare=walk),))


def test_prepare_writes_variables_outside_the_gradient() -> None:
    plan, state = started(Chain(NetConfig(), rngs=nnx.Rngs(0)))
    theta, walker, mean = 1.0, 0.0, float(X.mean())
    for _ in range(3):
        walker += theta + mean
        theta -= 0.1 * walker  # no term from θ inside the walker
    state, _, _ = steps(plan, state, {"x": X}, 3)
    assert float(state.params["theta"]) == pytest.approx(theta, rel=1e-6)
    assert float(state.variables["walker"]) == pytest.approx(walker, rel=1e-6)


class Wide(GenerativeModel):
    """Four layers, one of which insists on float32."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.mlp = MLP([3, 16, 16, 16], rngs=rngs)
        self.logits = nnx.Linear(16, 3, kernel_init=lecun_normal(), bias_init=zeros, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs) -> dict[str, jax.Array]:
        return {"x": self.logits(self.mlp(x))}

    def loss_fn(self, batch: Mapping[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"loss": jnp.mean((outputs["x"] - batch["x"]) ** 2)}


def products(plan: Plan, state: TrainState) -> list[str]:
    """The dtype of each product of matrices in a step."""
    text = jax.jit(train_step, static_argnums=0).lower(plan, state, {"x": jnp.asarray(X)}, RUN).as_text()
    return re.findall(r"stablehlo\.dot_general.*?:\s*\(tensor<[^>]*x(\w+)>", text)


def test_compute_dtype_is_that_of_the_products_and_not_of_the_parameters() -> None:
    plan, state = started(Net(NetConfig(), rngs=nnx.Rngs(0)), compute_dtype="bfloat16", ema_decay=0.9)
    kinds = products(plan, state)
    assert len(kinds) == 5  # two forward, and backward three: nobody asks for the gradient of x
    assert kinds.count("bf16") / len(kinds) >= 0.95
    state, _, _ = steps(plan, state, {"x": X}, 2)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((state.params, state.ema))} == {"float32"}
    plain, _, _ = steps(*started(Net(NetConfig(), rngs=nnx.Rngs(0))), {"x": X}, 2)
    close(state.params, plain.params, 2e-3)  # bfloat16 holds eight bits, and a step is a tenth of a gradient


def test_a_layer_that_names_its_dtype_keeps_it() -> None:
    kinds = products(*started(Wide(NetConfig(), rngs=nnx.Rngs(0)), compute_dtype="bfloat16"))
    assert (kinds.count("f32"), kinds.count("bf16")) == (3, 8)


def test_a_module_that_is_put_together_for_a_step_is_in_training_mode() -> None:
    class Dropped(Net):
        def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
            super().__init__(config, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, deterministic=True)

    plan, state = started(Dropped(NetConfig(), rngs=nnx.Rngs(0)))
    assert training_module(plan, {**state.params, **state.variables}).dropout.deterministic is False


def test_a_forward_pass_that_makes_a_variable_is_refused_by_its_name() -> None:
    model = Fragile(NetConfig(), rngs=nnx.Rngs(0))
    variables = {path: x for path, x in flatten(model)[1].items() if path != "theta"}
    model.late = Memory(jnp.zeros(()))
    with pytest.raises(ValueError, match=r"expected a forward pass to keep the model's Variables, .*\['late'\]"):
        harvest(model, variables)


def test_intermediates_are_no_variables_of_the_model() -> None:
    model = Fragile(NetConfig(), rngs=nnx.Rngs(0))
    variables = {path: x for path, x in flatten(model)[1].items() if path != "theta"}
    model.activations = nnx.Intermediate(jnp.zeros(3))
    assert harvest(model, variables).keys() == variables.keys()


def test_variables_keep_their_dtype() -> None:
    model = Fragile(NetConfig(), rngs=nnx.Rngs(0))
    variables = {path: x for path, x in flatten(model)[1].items() if path != "theta"}
    model.passes = Memory(jnp.full((), 3.0))
    kept = harvest(model, variables)["passes"]
    assert (str(kept.dtype), int(kept)) == ("int32", 3)


def test_a_loss_must_be_a_scalar_under_its_name() -> None:
    objective = Objective(name="critic", loss=lambda model, batch, ctx: {})
    with pytest.raises(ValueError, match=r"Objective 'critic': expected a scalar under 'loss', got \{'kl': \(\)\}"):
        check_losses({"kl": jnp.zeros(())}, objective)
    with pytest.raises(ValueError, match=r"got \{'loss': \(8,\)\}"):
        check_losses({"loss": jnp.zeros(8)}, objective)
    terms = check_losses({"loss": 1.5, "rows": jnp.zeros(8)}, objective)
    assert (list(terms), float(terms["loss"])) == (["loss"], 1.5)  # what is no scalar cannot be logged
