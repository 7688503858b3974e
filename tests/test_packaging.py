"""The files around the code agree with each other."""

import pathlib
import re
import runpy
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

shown = runpy.run_path(str(pathlib.Path(__file__).with_name("shown.py")))
REPOSITORY = shown["REPOSITORY"]
MEGABYTES = 5

PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]


def constraints():
    """Name -> pinned version."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins)
    return {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}


@pytest.mark.parametrize(
    ("name", "module", "installs"), [("run", "trainers.cifar", "."), ("test", "pytest", ".[test]")]
)
def test_readme_has_one_command_that_installs_and_starts_it(name, module, installs):
    venv, install, start = shown["marked"](shown["README"], name).split(" && ")
    assert venv == "python3 -m venv .venv"
    assert install.startswith(".venv/bin/python -m pip install")
    assert "-c constraints.txt" in install
    assert install.split()[-1].strip('"') == installs
    assert start.split()[:3] == [".venv/bin/python", "-m", module]


@pytest.mark.parametrize(
    "requirement",
    PROJECT["dependencies"] + EXTRAS["test"] + EXTRAS["docs"],
    ids=lambda text: Requirement(text).name,
)
def test_a_range_holds_the_pinned_version(requirement):
    requirement = Requirement(requirement)
    assert requirement.specifier.contains(constraints()[canonicalize_name(requirement.name)])


def test_bench_and_gpu_do_not_contradict_the_pins():
    pins = constraints()
    for requirement in map(Requirement, EXTRAS["bench"] + EXTRAS["gpu"]):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is None or requirement.specifier.contains(pin)


def test_every_supported_python_is_named():
    supported = SpecifierSet(PROJECT["requires-python"])
    prefix = "Programming Language :: Python :: "
    named = {line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line}
    assert named == {f"3.{minor}" for minor in range(30) if f"3.{minor}" in supported}


@pytest.fixture(scope="module")
def tracked_files():
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_tracked_file_is_large(tracked_files):
    assert not [p for p in tracked_files if p.stat().st_size > MEGABYTES * 2**20]


def test_what_the_packages_read_beside_their_code_is_installed_with_them(tracked_files):
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    installed = {
        path
        for package, globs in patterns.items()
        for folder in REPOSITORY.glob(f"{package.replace('.', '/')}/" if package != "*" else "*/**")
        for pattern in globs
        for path in folder.glob(pattern)
    }
    read = [p for p in tracked_files if p.is_relative_to(REPOSITORY / "keras_mpdsgr")]
    read += [p for p in tracked_files if p.is_relative_to(REPOSITORY / "trainers")]
    assert [p for p in read if p.suffix != ".py" and p not in installed] == []
