"""Names to records, records to classes."""

import json
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.errors import ConfigError, MissingDependency, PluginConflict
from artifex.core.model import GenerativeModel
from artifex.core.plugins.records import ModelRecord
from artifex.core.registry import (
    FIRST_PARTY,
    ModelRegistry,
    create_model,
    list_models,
    load_target,
    model_record,
    record_of,
    register_model,
    registry,
    require,
)
from artifex.core.testing.distributions import plugin_source, pretend_install, run_program, run_python

RECORD = ModelRecord("mine", "mine", "a.b:C", "a.b:CConfig", "one line", "a paper", 2020, "a.b:example")


@dataclass(frozen=True, kw_only=True)
class ScaleConfig(ModelConfig):
    """A number."""

    scale: float = 2.0


class Scale(GenerativeModel):
    """Multiplies by a number."""

    def __init__(self, config: ScaleConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.scale = nnx.Param(jnp.asarray(config.scale))

    def __call__(self, x, *, rngs=None):
        """The product."""
        return {"x": self.scale[...] * x}

    def loss_fn(self, batch, outputs):
        """Its mean."""
        return {"loss": outputs["x"].mean()}

    def generate(self, n_samples=1, *, rngs=None):
        """The number, again and again."""
        return jnp.full((n_samples, 1), self.scale[...])


@pytest.fixture(autouse=True)
def own_registry():
    """What a test registers is gone after it."""
    before, registry.in_process = registry.in_process, {}
    yield
    registry.in_process = before


def test_a_registered_model_is_made_by_name_with_the_fields_of_its_config():
    assert register_model("scale")(Scale) is Scale
    assert float(create_model("scale", rngs=nnx.Rngs(0)).scale[...]) == 2.0
    model = create_model("scale", rngs=nnx.Rngs(0), scale=3)
    assert type(model) is Scale
    np.testing.assert_array_equal(model.generate(2), [[3.0], [3.0]])


def test_a_config_makes_the_model_that_it_belongs_to():
    register_model("scale")(Scale)
    model = create_model(ScaleConfig(scale=5.0), rngs=nnx.Rngs(0))
    assert type(model) is Scale
    assert model.config.scale == 5.0
    assert create_model(model.config, rngs=nnx.Rngs(0), scale=7.0).config.scale == 7.0


def test_a_record_tells_what_the_decorator_was_told():
    register_model("scale", family="toy", year=1999, capabilities=("likelihood",))(Scale)
    record = model_record("scale")
    assert (record.family, record.year, record.capabilities) == ("toy", 1999, ("likelihood",))
    assert record.summary == "Multiplies by a number."
    assert record.config == f"{__name__}:ScaleConfig"
    assert record_of(ScaleConfig()) == record_of(Scale(ScaleConfig(), rngs=nnx.Rngs(0))) == record


def test_the_same_target_again_is_no_matter():
    for _ in range(3):
        register_model("scale")(Scale)
    assert [model.name for model in list_models()].count("scale") == 1


def test_another_target_for_a_taken_name_names_both():
    class Other(Scale):
        """Another one."""

    register_model("scale")(Scale)
    with pytest.raises(PluginConflict) as caught:
        register_model("scale", config=ScaleConfig)(Other)
    assert f"{__name__}:Scale of in process" in str(caught.value)
    assert "Other" in str(caught.value)


@pytest.mark.parametrize("name", ["Scale", "two words", "dist:scale", "1st", ""])
def test_a_name_has_a_form(name):
    with pytest.raises(ValueError, match=r"register_model: expected a name of \[a-z\]\[a-z0-9_\]\*, got"):
        register_model(name)(Scale)


def test_a_model_without_an_annotated_config_is_refused():
    class Bare(GenerativeModel):
        """Says nothing of its config."""

        def __init__(self, config, *, rngs):
            super().__init__(config, rngs=rngs)

    with pytest.raises(TypeError, match="expected a config class for Bare, got none"):
        register_model("bare")(Bare)


def test_two_models_with_one_config_class_are_a_conflict():
    class Twin(Scale):
        """Takes the same config."""

    register_model("scale")(Scale)
    register_model("twin", config=ScaleConfig)(Twin)
    with pytest.raises(PluginConflict, match="Give each a config class"):
        create_model(ScaleConfig(), rngs=nnx.Rngs(0))


def test_an_unknown_name_gets_a_suggestion():
    register_model("scalenet")(Scale)
    with pytest.raises(LookupError) as caught:
        create_model("scalenett", rngs=nnx.Rngs(0))
    assert str(caught.value) == (
        "create_model: expected the name of an installed model, got 'scalenett'. Did you mean 'scalenet'? "
        "Run 'artifex list-models' for the list."
    )


@pytest.mark.parametrize("thing", [3, None, {"type": "scale"}, ScaleConfig])
def test_what_is_neither_name_nor_config_is_refused(thing):
    with pytest.raises(LookupError, match="expected a name or the config of a registered model, got"):
        create_model(thing, rngs=nnx.Rngs(0), scale=1.0)


def test_wrong_fields_are_all_told():
    register_model("scale")(Scale)
    with pytest.raises(ConfigError) as caught:
        create_model("scale", rngs=nnx.Rngs(0), scale="wide", scal=1)
    assert len(caught.value.problems) == 2


def test_missing_requirements_are_told_with_the_line_that_installs_them():
    require(RECORD._replace(requirements=("numpy", "numpy.linalg")))
    with pytest.raises(MissingDependency, match="Run: pip install no_such_one no_such_two"):
        require(RECORD._replace(requirements=("numpy", "no_such_one", "no_such_two")))


def test_targets():
    assert load_target("math:tau") == 2 * np.pi
    assert load_target("artifex.core.registry:ModelRegistry.get") is ModelRegistry.get


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("artifex.no_such_family:Model", "expected a module, got none of that name"),
        ("math:tauu", "expected an object of that module, got none"),
    ],
)
def test_a_record_that_names_nothing_is_a_mistake_of_the_record(target, told):
    with pytest.raises(ConfigError, match=f"{target}: {told}. Mend the record."):
        load_target(target)


def test_a_target_whose_package_needs_another_one_is_a_missing_dependency(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import no_such_package_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match="Run: pip install no_such_package_anywhere"):
        load_target("needs_more:Model")


def test_a_model_of_ours_that_is_not_installed_gets_its_pip_line(monkeypatch):
    monkeypatch.setitem(FIRST_PARTY, "artifex-elsewhere", ("elsewhere",))
    for name in ("elsewhere", "artifex-elsewhere:elsewhere"):
        with pytest.raises(MissingDependency, match="Run: pip install artifex-elsewhere"):
            registry.get(name)
    with pytest.raises(LookupError, match="expected the name of an installed model, got 'stranger:elsewhere'"):
        registry.get("stranger:elsewhere")


def test_a_model_of_ours_whose_plugin_is_left_out_is_told_so(tmp_path):
    pretend_install(tmp_path, "artifex-ours", plugin_source("ours"))
    code = """
from artifex.core.registry import FIRST_PARTY, registry
FIRST_PARTY["artifex-ours"] = ("ours",)
registry.get("ours")
"""
    done = run_python(code, site=tmp_path, ARTIFEX_DISABLE_PLUGINS="artifex-ours")
    assert "got one that is blocked: switched off See 'artifex doctor'." in done.stderr
    assert run_python(code, site=tmp_path).returncode == 0


@pytest.fixture(scope="module")
def claimed(tmp_path_factory):
    """A folder in which two distributions claim one name."""
    folder = tmp_path_factory.mktemp("claimed")
    for distribution in ("alpha", "beta"):
        pretend_install(folder, distribution, plugin_source("both", f"only_{distribution}", target=f"{distribution}:M"))
    return folder


def test_two_that_claim_a_name_are_both_listed(claimed):
    done = run_program("list-models", "--json", site=claimed)
    listed = [(m["name"], m["distribution"]) for m in json.loads(done.stdout)["models"]]
    assert [model for model in listed if model[0] == "both"] == [("both", "alpha"), ("both", "beta")]
    assert ("only_alpha", "alpha") in listed
    assert done.returncode == 3
    assert done.stderr == (
        "artifex: expected one distribution with a model 'both', got alpha and beta. Write alpha:both or beta:both.\n"
    )


def test_the_bare_name_refuses_to_choose(claimed):
    done = run_program("show", "both", site=claimed)
    assert done.returncode == 3
    assert "got alpha and beta. Write alpha:both or beta:both." in done.stderr


def test_distribution_and_name_choose(claimed):
    code = "from artifex.core.registry import model_record; print(model_record('beta:both').model)"
    assert run_python(code, site=claimed).stdout == "beta:M\n"
