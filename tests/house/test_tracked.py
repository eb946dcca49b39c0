"""What stands in the repository names no machine, and no place that packages come from."""

from __future__ import annotations

import re

HOSTS = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(com|org)|find[-]links")
MACHINE = re.compile(r"(?<![\w.~*}>])/(work|root|home|Users|opt|tmp)/\w")
LARGEST = 1 << 20


def lines_with(tracked, root, pattern):
    """The lines of text files in which a pattern occurs."""
    places = []
    for path in tracked:
        try:
            lines = path.read_text(encoding="utf8").splitlines()
        except UnicodeDecodeError:
            continue
        places += [
            f"{path.relative_to(root)}:{n} {line[:100]}" for n, line in enumerate(lines, 1) if pattern.search(line)
        ]
    return places


def test_no_registry_is_named(tracked, root):
    assert lines_with(tracked, root, HOSTS) == []


def test_no_path_of_a_machine_is_named(tracked, root):
    assert lines_with(tracked, root, MACHINE) == []


def test_no_lock_file_is_kept(tracked):
    assert [path.name for path in tracked if path.name in ("uv.lock", "poetry.lock", "Pipfile.lock")] == []


def test_no_file_is_larger_than_a_mebibyte(tracked, root):
    assert [str(path.relative_to(root)) for path in tracked if path.stat().st_size > LARGEST] == []


def test_constraints_pin_every_line(root):
    lines = [
        line for line in (root / "constraints.txt").read_text(encoding="utf8").splitlines() if line[:1] not in ("", "#")
    ]
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==[\w.]+( ; .+)?$", line)] == []
    assert len(lines) > 60
