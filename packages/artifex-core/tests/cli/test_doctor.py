"""`artifex doctor` tells what works, and by its exit code that something does not."""

from __future__ import annotations

import importlib.metadata
import json

from artifex.core.testing.distributions import plugin_source, pretend_install, run_program


def test_a_sound_plugin_and_the_versions_are_told(tmp_path):
    pretend_install(tmp_path, "good-one", plugin_source("gentle"))
    done = run_program("doctor", "--json", site=tmp_path)
    about = json.loads(done.stdout)
    assert done.returncode == 0
    assert about["versions"]["jax"] == importlib.metadata.version("jax")
    assert "cpu" in about["devices"].lower()
    (plugin,) = [plugin for plugin in about["plugins"] if plugin["distribution"] == "good-one"]
    assert plugin["status"] == "ok"


def test_a_plugin_that_does_not_import_gives_exit_code_1_and_its_traceback(tmp_path):
    pretend_install(tmp_path, "bad-one", "raise SystemExit('out of order')\n")
    done = run_program("doctor", site=tmp_path)
    assert done.returncode == 1
    assert "bad-one:main 1.0 is broken" in done.stdout
    assert "out of order" in done.stdout


def test_two_that_claim_one_name_give_exit_code_3_and_the_way_out(tmp_path):
    for distribution in ("first-one", "second-one"):
        pretend_install(tmp_path, distribution, plugin_source("wanted"))
    done = run_program("doctor", site=tmp_path)
    assert done.returncode == 3
    assert "first-one:wanted or second-one:wanted" in done.stderr


def test_a_jax_that_does_not_start_is_told_not_raised(tmp_path):
    done = run_program("doctor", "--json", site=tmp_path, JAX_PLATFORMS="no_such_platform")
    assert done.returncode == 1
    assert json.loads(done.stdout)["devices"] is None
