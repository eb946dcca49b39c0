"""A plugin that cannot be used is noted, said in one line, and hurts nobody else."""

import json

import pytest

from artifex.core.testing.distributions import plugin_source, pretend_install, run_program, run_python

HEAD = "from artifex.core.plugins import ModelRecord, PluginInfo, TargetRecord, hookimpl\nPLUGIN = PluginInfo(api={})\n"
SOUND = HEAD.format((1, 0))
HOOK = SOUND + "@hookimpl\ndef register_{}({}):\n    {}\n"
BROKEN = {  # distribution: (source, status, stage, what its line says)
    "a-exit": ("raise SystemExit(3)", "broken", "import", "SystemExit: 3."),
    "b-import": ("import no_such_module_at_all", "broken", "import", "No module named 'no_such_module_at_all'"),
    "c-syntax": ("def", "broken", "import", "SyntaxError: invalid syntax"),
    "d-nothing": ("x = 1", "broken", "api", "expected PLUGIN = PluginInfo(api=(1, 0)), got None. Add it."),
    "e-shape": (HEAD.format((1, 0, 0)), "broken", "api", "ValueError: too many values to unpack"),
    "f-major": (HEAD.format((2, 0)), "incompatible", "api", "got 2.0. Upgrade artifex-core."),
    "g-minor": (HEAD.format((1, 1)), "incompatible", "api", "got 1.1. Upgrade artifex-core."),
    "h-old": (HEAD.format((0, 9)), "incompatible", "api", "got 0.9. Upgrade the plugin."),
    "i-argument": (HOOK.format("models", "config", "return []"), "broken", "hooks", "PluginValidationError: "),
    "j-unknown": (HOOK.format("modells", "", "return []"), "broken", "hooks", "got 'register_modells'. Rename it."),
    "k-raises": (HOOK.format("datasets", "", "return 1 / 0"), "broken", "records", "ZeroDivisionError: division by"),
    "l-exits": (HOOK.format("metrics", "", "raise SystemExit"), "broken", "records", "SystemExit."),
    "m-record": (HOOK.format("models", "", "return ['vae']"), "broken", "records", "of type ModelRecord, got 'vae'."),
    "n-none": (HOOK.format("commands", "", "return None"), "broken", "records", "'NoneType' object is not iterable."),
    "o-twice": (plugin_source("one", "two", "one"), "broken", "records", "expected each name once, got one twice."),
}
SOUND_ONES = {
    "p-empty": (SOUND, "empty", ""),
    "q-unmarked": (
        SOUND + "def register_models():\n    return []\n",
        "empty",
        "expected @hookimpl above register_models",
    ),
    "r-talks": ("print('hello')\n" + plugin_source("talker"), "ok", ""),
    "z-sound": (plugin_source("sound"), "ok", ""),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with all of them."""
    folder = tmp_path_factory.mktemp("site")
    for distribution, (source, *_) in {**BROKEN, **SOUND_ONES}.items():
        pretend_install(folder, distribution, source)
    return folder


@pytest.fixture(scope="module")
def told(site):
    """What `artifex plugins --json` says."""
    return run_program("plugins", "--json", site=site)


@pytest.fixture(scope="module")
def found(told):
    """Facts by distribution."""
    return {plugin["distribution"]: plugin for plugin in json.loads(told.stdout)["plugins"]}


@pytest.mark.parametrize("distribution", BROKEN)
def test_what_went_wrong_is_noted(found, distribution):
    _, status, stage, line = BROKEN[distribution]
    plugin = found[distribution]
    assert (plugin["status"], plugin["stage"]) == (status, stage)
    assert line in plugin["problem"]
    assert plugin["version"] == "1.0"


@pytest.mark.parametrize("distribution", SOUND_ONES)
def test_the_others_are_loaded(found, distribution):
    _, status, hint = SOUND_ONES[distribution]
    assert found[distribution]["status"] == status
    assert hint in found[distribution]["problem"]


def test_each_failure_is_one_line_on_stderr(told):
    lines = [line for line in told.stderr.splitlines() if line.startswith("artifex: ")]
    assert [line.split()[1] for line in lines] == [f"{distribution}:main" for distribution in BROKEN]
    assert len(lines) == 15


def test_plugins_says_by_its_exit_code_that_something_is_wrong(told):
    assert told.returncode == 1


def test_what_a_plugin_prints_stays_out_of_the_data(site):
    done = run_program("list-models", "--json", site=site)
    names = {model["name"] for model in json.loads(done.stdout)["models"]}
    assert {"sound", "talker"} <= names
    assert done.returncode == 0
    assert "hello" in done.stderr


def test_doctor_shows_the_traceback(site):
    done = run_program("doctor", site=site)
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert done.stdout.count("Traceback (most recent call last)") >= len(BROKEN)
    assert done.returncode == 1


def test_strict_mode_raises_from_the_error_of_the_plugin(site):
    done = run_program("list-models", site=site, ARTIFEX_STRICT_PLUGINS="1")
    assert done.returncode == 1
    assert "RuntimeError: a-exit:main 1.0 is broken (import): SystemExit: 3." in done.stderr
    assert done.stdout == ""


def test_entry_points_of_one_name_are_all_loaded(tmp_path):
    for distribution, model in (("first", "one"), ("second", "two")):
        pretend_install(tmp_path, distribution, plugin_source(model), entry="same")
    pretend_install(tmp_path, "second", plugin_source("three"), entry="other")
    done = run_program("plugins", "--json", site=tmp_path)
    found = [(p["distribution"], p["name"], p["status"]) for p in json.loads(done.stdout)["plugins"]]
    ours = [plugin for plugin in found if plugin[0] in ("first", "second")]
    assert ours == [("first", "same", "ok"), ("second", "other", "ok"), ("second", "same", "ok")]


def test_metadata_without_a_name_is_no_obstacle(tmp_path):
    pretend_install(tmp_path, "nameless", plugin_source("orphan"))
    (tmp_path / "nameless-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\n")
    done = run_program("list-models", "--json", site=tmp_path)
    owners = {model["name"]: model["distribution"] for model in json.loads(done.stdout)["models"]}
    assert owners["orphan"] == "unknown"


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["-p", "no:my-plugin"], {}),
        (["-p", "no:My_Plugin"], {}),
        (["-p", "no:my-plugin:main"], {}),
        ([], {"ARTIFEX_DISABLE_PLUGINS": "other, my_plugin"}),
        ([], {"ARTIFEX_PLUGINS": "other"}),
        ([], {"ARTIFEX_PLUGINS": ""}),
    ],
)
def test_blocked(tmp_path, words, variables):
    pretend_install(tmp_path, "my-plugin", "raise SystemExit(9)")
    done = run_program(*words, "plugins", "--json", site=tmp_path, **variables)
    status = {p["distribution"]: p["status"] for p in json.loads(done.stdout)["plugins"]}
    assert status["my-plugin"] == "blocked"
    assert status["artifex-core"] == "ok"
    assert (done.returncode, done.stderr) == (0, "")


def test_an_allow_list_keeps_what_it_names(tmp_path):
    pretend_install(tmp_path, "kept", plugin_source("kept_model"))
    done = run_program("list-models", "--json", site=tmp_path, ARTIFEX_PLUGINS="Kept")
    assert [model["name"] for model in json.loads(done.stdout)["models"]] == ["kept_model"]


def test_refresh_finds_what_was_installed_meanwhile(tmp_path):
    pretend_install(tmp_path, "early", plugin_source("early_model"))
    code = f"""
from pathlib import Path
from artifex.core.plugins import records, refresh_plugins
from artifex.core.testing.distributions import plugin_source, pretend_install
names = lambda: {{record.name for _, record in records("models")}}
before = names()
pretend_install(Path({str(tmp_path)!r}), "late", plugin_source("late_model"))
cached = names()
refresh_plugins()
print(len(cached - before), sorted(names() - before))
"""
    assert run_python(code, site=tmp_path).stdout == "0 ['late_model']\n"
