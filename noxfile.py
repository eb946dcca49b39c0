"""The front door: `nox -l` lists what can be run, `nox` alone runs lint, types and tests.

Every session installs into an environment of its own, from `constraints.txt`, and prints the CPU seconds that it used.
What follows `--` goes to the tool that the session runs: `nox -s tests -- packages/artifex-vae -k kl`.
"""

from __future__ import annotations

import functools
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
NAMES = [package.name for package in PACKAGES]
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]

# Thresholds of zero: the suite compiles thousands of small programs, and each is worth keeping.
JAX = {
    "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
    "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".nox" / "jax-cache")),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    "XLA_FLAGS": os.environ.get("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"),
}

# Tests compile each program for a few calls: half of the compiler's work would not pay, nor would splitting it for
# threads that there are not.
QUICK = JAX | {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": f"{JAX['XLA_FLAGS']} --xla_cpu_parallel_codegen_split_count=1",
}

os.environ["UV_PYTHON_DOWNLOADS"] = "never"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every child process would parse jax anew, two seconds each
nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def session(**options: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A nox session that says in its last line what it cost."""

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(session: nox.Session, **choice: str) -> None:
            before = cpu_seconds()
            try:
                function(session, **choice)
            finally:
                session.log(f"CPU seconds: {session.name} {cpu_seconds() - before:.0f}")

        return nox.session(**options)(run)  # pyright: ignore[reportCallIssue, reportArgumentType]

    return wrap


def cpu_seconds() -> float:
    """User and system time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(session: nox.Session, *groups: str, extra: str = "[test]", constrain: bool = True) -> None:
    """The distributions, editable, and the tools of some dependency groups."""
    # Two workers and their children start at once; what starts one process compiles only what it imports.
    bytecode = {} if groups else {"UV_COMPILE_BYTECODE": "1"}
    versions = ("-c", "constraints.txt") if constrain else ()
    session.install(*versions, *requirements(*groups, extra=extra), env=bytecode)


def requirements(*groups: str, extra: str = "[test]") -> list[str]:
    """What `install` asks for."""
    packages = [part for package in PACKAGES for part in ("-e", f"{package.relative_to(ROOT)}{extra}")]
    return [*packages, *(tool for group in groups for tool in GROUPS[group])]


def install_tools(session: nox.Session, *groups: str) -> None:
    """The tools of some dependency groups and nothing of ours."""
    session.install("-c", "constraints.txt", *[tool for group in groups for tool in GROUPS[group]])


def pytest(session: nox.Session, *args: str) -> None:
    """pytest on two workers; `conftest.py` keeps together what shares a compiled model and begins with what is long."""
    workers = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
    session.run("python", "-m", "pytest", *workers, *args, *session.posargs, env=QUICK)


@session()
def lint(session: nox.Session) -> None:
    """ruff, its formatter, typos and the pyproject files; `-- --fix` mends what can be mended."""
    install_tools(session, "lint")
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if fix else ["--check"]))
    session.run("typos", *(["--write-changes"] if fix else []))
    session.run("validate-pyproject", *[str(package / "pyproject.toml") for package in PACKAGES])


@session()
def types(session: nox.Session) -> None:
    """pyright on every source file, strict for the public modules of core."""
    install(session, "types")
    session.run("pyright", *session.posargs)


@session()
def house(session: nox.Session) -> None:
    """Layering, docstrings, versions and the other rules of the house."""
    install(session, "house")
    session.run("lint-imports", "--no-logo")
    session.run("python", "-m", "pytest", "tests/house", *session.posargs, env=JAX)


@session()
def tests(session: nox.Session) -> None:
    """Everything that is not slow."""
    install(session)
    pytest(session, "-m", "not slow and not faults")


@session(python=["3.12", "3.13"], default=False)
def tests_on(session: nox.Session) -> None:
    """The tests on another Python, if it is installed."""
    install(session)
    pytest(session, "-m", "not slow and not faults")


@session(default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that the distributions say they accept; needs uv."""
    if session.venv_backend != "uv":
        session.error(
            "lowest: expected the uv backend, got virtualenv. Install it with 'python3 -m pip install nox[uv]'."
        )
    os.environ["UV_RESOLUTION"] = "lowest-direct"
    install(session, constrain=False)
    pytest(session, "-m", "not slow and not faults")


@session(default=False)
def latest(session: nox.Session) -> None:
    """The tests with the newest versions there are."""
    install(session, constrain=False)
    pytest(session, "-m", "not slow and not faults")


@session(default=False)
def slow(session: nox.Session) -> None:
    """What is marked slow, but for the wheels, which have a session of their own."""
    install(session)
    pytest(session, "-m", "slow and not faults", "--ignore", "tests/wheels")


@session(default=False)
def faults(session: nox.Session) -> None:
    """Kills during saves, flipped bytes and full disks, a hundred rounds each."""
    install(session)
    session.env["ARTIFEX_FAULT_ROUNDS"] = os.environ.get("ARTIFEX_FAULT_ROUNDS", "100")
    pytest(session, "-m", "faults")


@session(default=False)
def peers(session: nox.Session) -> None:
    """The families' tests with torch and the libraries beside it that they compare with."""
    install(session)
    families = ["-e", "packages/artifex-flow[peers]", "-e", "packages/artifex-diffusion[text]"]
    session.install("-c", "constraints.txt", "torch>=2.5", "diffusers>=0.31", "transformers>=4.45", *families)
    pytest(session, "-m", "not faults", *[str(package) for package in PACKAGES])


@session(default=False)
def demo(session: nox.Session) -> None:
    """Train a VAE on handwritten digits, sample, evaluate; leaves pictures and a report."""
    install(session, extra="")
    session.run("python", "examples/demo.py", *session.posargs, env=JAX)


@session(default=False)
def bench(session: nox.Session) -> None:
    """One script a claim, its output kept beside it; `-- NAME ...` chooses."""
    install(session)
    scripts = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    for script in map(scripts.__getitem__, chosen(session, scripts)):
        output = session.run("python", str(script), silent=True, env=JAX)
        script.with_suffix(".txt").write_text(str(output), encoding="utf8")
        session.log(f"{script.with_suffix('.txt').relative_to(ROOT)}:\n{output}")


def chosen(session: nox.Session, names: Iterable[str]) -> list[str]:
    """The names that the command line gives, or all."""
    known = list(names)
    unknown = [name for name in session.posargs if name not in known]
    if unknown:
        session.error(f"{session.name}: expected names out of {sorted(known)}, got {unknown}.")
    return session.posargs or known


@session(default=False)
def docs(session: nox.Session) -> None:
    """Execute the pages, then build them; a warning is an error."""
    install(session, "docs")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs, env=JAX)
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@session(default=False)
def wheels(session: nox.Session) -> None:
    """Build every distribution, look inside, and use each with core in a fresh environment; `-- NAME ...` chooses."""
    install_tools(session, "wheels", "types")
    built = build(session)
    session.install("-c", "constraints.txt", "pytest", "packaging")
    session.run("twine", "check", "--strict", *map(str, built.iterdir()))
    session.run("check-wheel-contents", "--ignore", "W009", *map(str, built.glob("*.whl")))
    checks = [str(path) for path in (ROOT / "tests" / "wheels").glob("test_*.py")]
    session.run("python", "-m", "pytest", "--noconftest", *checks, env={"ARTIFEX_WHEELS": str(built)})
    for name in chosen(session, NAMES):
        python = fresh_environment(session, built, name)
        with session.chdir(session.create_tmp()):
            session.run(python, str(ROOT / "tests" / "wheels" / "smoke.py"), name, external=True, env=JAX)
        if name == "artifex-vae":
            session.run("pyright", "--pythonpath", python, "tests/wheels/consumer.py")


def build(session: nox.Session) -> Path:
    """The folder with a wheel and an sdist of every distribution, each wheel built from its sdist."""
    folder = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(folder), str(package), silent=True)
    return folder


def fresh_environment(session: nox.Session, built: Path, name: str, extra: str = "") -> str:
    """The Python of an environment that holds core, one family and what they declare."""
    folder = Path(session.create_tmp()).resolve() / "fresh" / name
    python = folder / "bin" / "python"
    wanted = [wheel_of(built, name) + extra, *([wheel_of(built, "artifex-core")] if name != "artifex-core" else [])]
    if session.venv_backend == "uv":
        session.run("uv", "venv", "--clear", "--python", "python", str(folder), silent=True, external=True)
        install = ("uv", "pip", "install", "--python", str(python))
    else:
        session.run("python", "-m", "venv", "--clear", str(folder))
        install = (str(python), "-m", "pip", "install")
    session.run(*install, "-c", "constraints.txt", *wanted, silent=True, external=True)
    return str(python)


def wheel_of(built: Path, name: str) -> str:
    """The path of the one wheel of a distribution."""
    (wheel,) = built.glob(f"{name.replace('-', '_')}-*.whl")
    return str(wheel)


@session(default=False)
@nox.parametrize("package", NAMES, ids=NAMES)
def isolated(session: nox.Session, package: str) -> None:
    """The whole suite of one distribution, from its wheel, outside the tree: finds what is not declared."""
    install_tools(session, "wheels")
    python = fresh_environment(session, build(session), package, "[test]")
    outside = Path(session.create_tmp()).resolve() / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    shutil.copytree(ROOT / "packages" / package / "tests", outside / "tests")
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, outside / name)
    with session.chdir(outside):
        args = ["-n", "2", "--dist", "loadscope", "-m", "not slow and not faults", "tests", *session.posargs]
        session.run(python, "-m", "pytest", *args, external=True, env=QUICK)


@session(default=False)
def dev(session: nox.Session) -> None:
    """An environment in `.venv` with the distributions, editable, and every tool: for editors and shells."""
    folder = ROOT / ".venv"
    if session.venv_backend != "uv":
        session.error("dev: expected the uv backend, got virtualenv. Install it with 'python3 -m pip install nox[uv]'.")
    session.run("uv", "venv", "--allow-existing", "--python", "python", str(folder), external=True)
    target = ("--python", str(folder), "-c", "constraints.txt")
    session.run("uv", "pip", "install", *target, *requirements(*GROUPS), external=True)


@session(default=False)
def bump(session: nox.Session) -> None:
    """`-- 0.2.0`: write a version, and the range of siblings that goes with it, everywhere."""
    if len(session.posargs) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", session.posargs[0]):
        session.error(f"bump: expected one version such as 0.2.0 or 0.2.0.dev0, got {session.posargs}.")
    (version,) = session.posargs
    major, minor = version.split(".")[:2]
    siblings = r"(artifex-[a-z]+(?:\[[a-z,]+\])?)>=[^\"]+"
    for package in PACKAGES:
        rewrite(package / "pyproject.toml", r'(?m)^version = ".*"$', f'version = "{version}"')
        rewrite(package / "pyproject.toml", siblings, rf"\1>={version},<{major}.{int(minor) + 1}")
        for face in package.glob("src/artifex/*/__init__.py"):
            rewrite(face, r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"')
    session.log(f"{len(PACKAGES)} distributions are at {version}; write the CHANGELOG and run 'nox -s house'")


def rewrite(path: Path, pattern: str, replacement: str) -> None:
    """Replace every match in a file."""
    path.write_text(re.sub(pattern, replacement, path.read_text(encoding="utf8")), encoding="utf8")


@session(default=False)
def constraints(session: nox.Session) -> None:
    """Resolve `constraints.txt` anew, for every Python and platform at once; needs uv."""
    session.install("uv")
    ours = [part for name in NAMES for part in ("--no-emit-package", name)]
    groups = [part for group in GROUPS for part in ("--group", f"pyproject.toml:{group}")]
    session.run(
        "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--no-emit-index-url", "--no-annotate",
        "--extra", "test", *ours, *groups, *[str(path.relative_to(ROOT) / "pyproject.toml") for path in PACKAGES],
        "--output-file", "constraints.txt", *(session.posargs or ["--upgrade"]), silent=True,
        env={"UV_CUSTOM_COMPILE_COMMAND": "nox -s constraints"},
    )  # fmt: skip
