"""Every page runs as printed, from top to bottom.

A page gets an empty folder. Its `python` blocks run one after another in one namespace; of its `bash` blocks the
`artifex` commands run; a `yaml` or `toml` block that opens with `# NAME.yaml` is written to that file. A block under
`<!-- no-run: REASON -->` is left out, and counted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("README.md")])
BLOCK = re.compile(
    r"^(?P<mark><!-- no-run(?P<reason>.*?)-->\n+)?"
    r"(?P<fence>`{3,})(?P<language>\w+)[^\n]*\n(?P<text>.*?)^(?P=fence)\s*$",
    re.M | re.S,
)
FILE = re.compile(r"# (?P<name>[\w./-]+\.(yaml|toml))\n")
RUN_PAGE = Path(__file__)
# Pages that train several models; the session docs runs them all.
SLOW = re.compile(r"docs/(configs|diffusion|flow_|gan|getting|text|training)|packages/artifex-")


class Block(NamedTuple):
    """One fenced block of a page."""

    line: int  # of the page, where its text begins
    language: str
    text: str
    reason: str | None  # why it is not run; None if it is


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for match in BLOCK.finditer(page):
        reason = match["reason"].strip(" :") if match["mark"] else None
        found.append(Block(page.count("\n", 0, match.start("text")) + 1, match["language"], match["text"], reason))
    return found


def commands(text: str) -> list[str]:
    """The `artifex` commands of a shell block, continued lines joined, a leading `$` taken off."""
    lines = [line.removeprefix("$ ").strip() for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"artifex\s", line)]


def run_python(block: Block, page: str, namespace: dict[str, object]) -> None:
    """Run a block so that errors tell the line of the page."""
    code = compile("\n" * (block.line - 1) + block.text, page, "exec")
    exec(code, namespace)


def run_bash(block: Block, page: str) -> None:
    """Run the `artifex` commands of a block; one that fails is an error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands(block.text):
        env = {**os.environ, "PATH": path}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, f"{page}:{block.line}: {command}\n{done.stdout}{done.stderr}"


def run_page(page: Path) -> None:
    """Run every block of a page in the current folder."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf8")):
        named = FILE.match(block.text)
        if block.reason is not None:
            continue
        if block.language == "python":
            run_python(block, str(page), namespace)
        elif block.language == "bash":
            run_bash(block, str(page))
        elif block.language in ("yaml", "toml") and named:
            Path(named["name"]).parent.mkdir(parents=True, exist_ok=True)
            Path(named["name"]).write_text(block.text, encoding="utf8")


def page_cases() -> list[pytest.param]:
    names = [(page, str(page.relative_to(ROOT))) for page in PAGES]
    return [pytest.param(page, id=name, marks=[pytest.mark.slow] * bool(SLOW.match(name))) for page, name in names]


@pytest.mark.parametrize("page", page_cases())
def test_page_runs_as_printed(page, tmp_path):
    # A process of its own: a page may register models and set what a session sets.
    env = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    command = [sys.executable, RUN_PAGE, page]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_block_that_is_not_run_says_why(record_property):
    found = [(page, block) for page in PAGES for block in blocks(page.read_text(encoding="utf8"))]
    left_out = [(page, block) for page, block in found if block.reason is not None]
    record_property("blocks left out", len(left_out))
    assert [f"{page.name}:{block.line}" for page, block in left_out if len(block.reason or "") < 8] == []
    assert len(left_out) <= max(1, len(found) // 5)


def test_blocks_are_found_with_their_line_and_mark():
    page = (
        "# Title\n\n```python\nx = 1\n```\n\n<!-- no-run: needs a GPU -->\n"
        "```bash\n$ artifex train a.yaml \\\n  --out b\nls\n```\n"
    )
    first, second = blocks(page)
    assert first == Block(4, "python", "x = 1\n", None)
    assert (second.line, second.reason) == (9, "needs a GPU")
    assert commands(second.text) == ["artifex train a.yaml    --out b"]


if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
