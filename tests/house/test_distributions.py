"""The distributions agree on versions and ranges, and each ships what it must."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

GROUP = "artifex"


def siblings(project):
    """Requirements on our own distributions, those of the extras too."""
    lines = [
        *project["dependencies"],
        *(line for extra in project.get("optional-dependencies", {}).values() for line in extra),
    ]
    return [requirement for requirement in map(Requirement, lines) if requirement.name.startswith("artifex-")]


def sibling_range(version):
    """The range of siblings that goes with a version: from it to the next minor release."""
    major, minor = Version(version).release[:2]
    return f"<{major}.{minor + 1},>={version}"


def test_all_distributions_have_one_version(projects):
    assert len({project["project"]["version"] for project in projects.values()}) == 1


def test_the_faces_tell_that_version(root, projects):
    version = projects["artifex-core"]["project"]["version"]
    texts = [face.read_text(encoding="utf8") for face in root.glob("packages/*/src/artifex/*/__init__.py")]
    told = [match for text in texts for match in re.findall(r'(?m)^__version__ = "(.*)"$', text)]
    assert told
    assert set(told) == {version}


def test_siblings_are_required_in_the_range_of_that_version(projects):
    for name, project in projects.items():
        for requirement in siblings(project["project"]):
            expected = "" if requirement.extras else sibling_range(project["project"]["version"])
            assert str(requirement.specifier) == expected, f"{name}: {requirement}"


def test_core_offers_every_family_as_an_extra(projects):
    extras = projects["artifex-core"]["project"]["optional-dependencies"]
    families = set(projects) - {"artifex-core"}
    assert {Requirement(line).name for line in extras["all"]} == families
    assert {f"artifex-{extra}" for extra in extras if f"artifex-{extra}" in families} == families


def test_core_has_at_most_fourteen_direct_dependencies(projects):
    assert len(projects["artifex-core"]["project"]["dependencies"]) <= 14


def test_dependencies_have_no_upper_caps(projects):
    for name, project in projects.items():
        foreign = [r for r in map(Requirement, project["project"]["dependencies"]) if not r.name.startswith("artifex-")]
        assert [str(r) for r in foreign if re.search(r"<|==|~=", str(r.specifier))] == [], name


def test_each_distribution_has_one_light_entry_point(projects):
    for name, project in projects.items():
        short = name.removeprefix("artifex-")
        assert project["project"]["entry-points"] == {GROUP: {short: f"artifex.{short}._plugin"}}


def test_no_distribution_takes_the_name_of_the_namespace(projects):
    assert GROUP not in {project["project"]["name"] for project in projects.values()}


def test_the_namespace_belongs_to_nobody(root):
    assert list(root.glob("packages/*/src/artifex/__init__.py")) == []


def test_each_distribution_is_one_typed_package(root, projects):
    for name in projects:
        inside = [
            path.name for path in (root / "packages" / name / "src" / "artifex").iterdir() if path.name != "__pycache__"
        ]
        assert inside == [name.removeprefix("artifex-")]
        assert (root / "packages" / name / "src" / "artifex" / inside[0] / "py.typed").is_file()


def test_the_workspace_knows_every_family(root, projects):
    workspace = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))["tool"]
    modules = {name.replace("-", ".") for name in projects}
    forbidden, independent = workspace["importlinter"]["contracts"]
    assert set(workspace["uv"]["sources"]) == set(projects)
    assert set(workspace["importlinter"]["root_packages"]) == modules
    assert set(forbidden["forbidden_modules"]) == set(independent["modules"]) == modules - {"artifex.core"}


def test_each_readme_is_a_page(root, projects):
    for name in projects:
        text = (root / "packages" / name / "README.md").read_text(encoding="utf8")
        assert text.startswith(f"# {name}\n")
        assert len(text.split()) > 50, name


def test_the_licence_is_the_same_everywhere(root, projects):
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf8")
    assert {project["project"]["license"] for project in projects.values()} == {"Apache-2.0"}


def test_test_folders_are_no_packages(root):
    assert [*root.glob("packages/*/tests/**/__init__.py"), *root.glob("tests/**/__init__.py")] == []
