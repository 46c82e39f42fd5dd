"""requirements/: lower bounds as pyproject.toml states them, and locks that hold what it asks for, hashed."""

from __future__ import annotations

import importlib
import json
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
RUNTIME_LOCKS = [f"runtime-cpu-{version}.txt" for version in ("3.11", "3.12", "3.13")]
FULL_LOCK = "full-3.11.txt"
DOCS_LOCK, SUPPLY_LOCK = "docs-3.11.txt", "supply-3.11.txt"
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+) \\\n    --hash=sha256:(?P<sha256>[0-9a-f]{64})\n")


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "distribution"))
    return importlib.import_module("locks")


@pytest.fixture
def which_lock(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As on a machine that every lock is for."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "distribution"))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    return importlib.import_module("which_lock")


def stated(monkeypatch: pytest.MonkeyPatch, requirements: dict[str, list[str]]) -> None:
    """Puts other requirements in the place of those of pyproject.toml."""
    monkeypatch.setattr(importlib.import_module("licences"), "project", lambda: ("own", requirements))


def text_of(name: str) -> str:
    return (ROOT / "requirements" / name).read_text(encoding="utf-8")


def versions_in(name: str) -> dict[str, str]:
    return {match["name"]: match["version"] for match in LINE.finditer(text_of(name))}


def test_the_lowest_versions_are_those_of_pyproject(locks: ModuleType) -> None:
    assert text_of("lowest-3.11.txt") == locks.lowest(), "run locks.py lowest, and the tests with it"


@pytest.mark.parametrize("name", [*RUNTIME_LOCKS, FULL_LOCK, DOCS_LOCK, SUPPLY_LOCK])
def test_a_lock_is_nothing_but_a_head_names_versions_and_hashes(name: str) -> None:
    head = re.match(r"(#.*\n)+", text_of(name))
    assert head is not None
    assert LINE.sub("", text_of(name)) == head[0]
    assert "://" not in head[0]
    names = [match["name"] for match in LINE.finditer(text_of(name))]
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", RUNTIME_LOCKS)
def test_a_runtime_lock_holds_what_the_runtime_asks_for(locks: ModuleType, name: str) -> None:
    held = versions_in(name)
    for asked, bounds in locks.requirements(locks.RUNTIME).items():
        assert held[asked] in SpecifierSet(bounds)
    assert not {"torch", "scanpy", "scikit-learn", "pytest", "hnswlib", "bleep-cli"} & held.keys()


def test_the_full_lock_holds_what_everything_asks_for(locks: ModuleType) -> None:
    held = versions_in(FULL_LOCK)
    for asked, bounds in locks.requirements(locks.FULL).items():
        assert held[asked] in SpecifierSet(bounds)


def test_the_sites_lock_holds_its_tools_and_nothing_of_the_runtime(locks: ModuleType) -> None:
    held = versions_in(DOCS_LOCK)
    (tool,) = locks.of_extras(("docs",))
    assert held["mkdocs-material"] in SpecifierSet(tool.removeprefix("mkdocs-material"))
    assert not {"numpy", "zarr", "torch", "bleep-cli"} & held.keys()
    assert locks.of_extras(("cpu", "build")) == [".[cpu,build]"]


def test_the_lock_of_what_looks_at_the_runtime_holds_its_tools_alone(locks: ModuleType) -> None:
    held = versions_in(SUPPLY_LOCK)
    asked = [re.split(r"(?=[<>=])", tool, maxsplit=1) for tool in locks.of_extras(("supply",))]
    assert {name for name, _ in asked} == {"cyclonedx-bom", "pip-audit"}
    assert all(held[name] in SpecifierSet(bounds) for name, bounds in asked)
    assert not {"numpy", "zarr", "bleep-cli"} & held.keys()


def entry(name: str, version: str, file: str, digit: str) -> dict[str, Any]:
    archive = {"hashes": {"sha256": digit * 64}}
    info = {"url": f"https://index.example/packages/ab/{file}", "archive_info": archive}
    return {"metadata": {"name": name, "version": version}, "download_info": info}


REPORT = {
    "install": [
        {
            "metadata": {"name": "bleep-cli", "version": "0.1.0"},
            "download_info": {"url": "file:///here", "dir_info": {}},
        },
        entry("Zarr_x", "3.1", "zarr_x-3.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "1"),
        entry("a.b", "2", "a_b-2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "2"),
        entry("pure", "1", "pure-1-py3-none-any.whl", "3"),
        entry("source", "1", "source-1.tar.gz", "4"),
    ]
}
LOCK = f"""\
# What bleep-cli[x,y] needs, without itself; README.md here says how to use it.
# The hashes are of the wheels for CPython 3.11, Linux x86_64, glibc 2.27 or later.
# Of these there is only the source: source. They need a compiler.
# Written by tools/distribution/locks.py lock.
a-b==2 \\
    --hash=sha256:{"2" * 64}
pure==1 \\
    --hash=sha256:{"3" * 64}
source==1 \\
    --hash=sha256:{"4" * 64}
zarr-x==3.1 \\
    --hash=sha256:{"1" * 64}
"""


def test_a_lock_is_pips_report_without_addresses(locks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(REPORT))

    monkeypatch.setattr(subprocess, "run", run)
    assert locks.lock(locks.locked("py", ("x", "y"), ["-c", "caps"]), ("x", "y"), "3.11") == LOCK
    assert commands[0][:4] == ["py", "-m", "pip", "install"]
    assert {"--dry-run", "--ignore-installed"} <= set(commands[0])
    assert commands[0][-3:] == ["-c", "caps", ".[x,y]"]


@pytest.mark.parametrize(
    ("tags", "glibc"),
    [
        ("manylinux1_x86_64", (2, 5)),
        ("manylinux_2_12_x86_64.manylinux2010_x86_64", (2, 12)),
        ("manylinux2014_x86_64.manylinux_2_28_x86_64", (2, 17)),
        ("manylinux_2_34_x86_64", (2, 34)),
        ("any", (0, 0)),
    ],
)
def test_a_wheel_runs_from_its_oldest_glibc_on(locks: ModuleType, tags: str, glibc: tuple[int, int]) -> None:
    assert locks.Locked.of(entry("a", "1", f"a-1-cp311-abi3-{tags}.whl", "5")).glibc == glibc


def test_requirements_that_cannot_be_pinned_are_refused(
    locks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated(monkeypatch, {"": ["a>=1"], "cpu": ["b<3,>=2"], "test": ["own[more]"], "more": ["c>=1.0"]})
    assert locks.lowest().splitlines()[-3:] == ["a==1", "b==2", "c==1.0"]
    stated(monkeypatch, {"": ["a"], "cpu": [], "test": []})
    with pytest.raises(ValueError, match="a states 0 lower bounds"):
        locks.lowest()
    stated(monkeypatch, {"": ["a>=1"], "cpu": ["A>=2"], "test": []})
    with pytest.raises(ValueError, match="a is asked for as '>=1' and as '>=2'"):
        locks.lowest()


def test_a_lock_of_another_system_is_not_written(locks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout="macosx-14-arm64 3.12\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match="this Python is for macosx-14-arm64"):
        locks.version_of("python3.12")


def test_every_lock_of_the_runtime_is_found_by_its_python(
    which_lock: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ((3, 11), (3, 12), (3, 13)):
        monkeypatch.setattr(sys, "version_info", (*version, 0))
        assert which_lock.lock_here() == Path("requirements") / f"runtime-cpu-{version[0]}.{version[1]}.txt"


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (sys, "version_info", (3, 10, 0)),
        (sys, "version_info", (3, 99, 0)),
        (sysconfig, "get_platform", lambda: "linux-aarch64"),
        (platform, "libc_ver", lambda: ("", "")),
        (platform, "libc_ver", lambda: ("glibc", "2.17")),
    ],
)
def test_no_lock_where_its_wheels_do_not_run(
    which_lock: ModuleType, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, value: Any
) -> None:
    monkeypatch.setattr(module, name, value)
    assert which_lock.lock_here() is None


def test_the_script_prints_one_line() -> None:
    script = [sys.executable, str(ROOT / "tools" / "distribution" / "which_lock.py")]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"(requirements/runtime-cpu-3\.\d+\.txt)?\n", printed)
