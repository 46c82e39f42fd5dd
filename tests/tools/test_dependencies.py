"""What the code imports is what pyproject.toml asks for, and the extras do not contradict each other."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "bleep_cli"
TRAINING = ROOT / "train" / "bleep_train"
OURS = {"bleep_cli", "bleep_train"}
TRAINING_STACK = {"torch", "torchvision", "scanpy", "harmonypy", "scikit-learn", "squidpy", "spatialdata"}
RUNTIME_EXTRAS = {"onnxruntime": "cpu", "onnx": "build", "hnswlib": "hnsw", "distributed": "cluster"}
"""What the runtime imports only where it is installed, and the extra that brings it."""
# Needed and not imported by us: who imports them, and what of ours makes it do so.
THROUGH_OTHERS = {"openslide-bin": "import openslide"}


@pytest.fixture
def licences(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "distribution"))
    return importlib.import_module("licences")


@cache
def imports_of(folder: Path) -> dict[str, set[str]]:
    """Module → files of ``folder`` that import it: third-party, top level, wherever the import stands."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            module = name.partition(".")[0]
            if module not in sys.stdlib_module_names and module not in OURS:
                found.setdefault(module, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    """Names of modules below ``node``, but for those that only a type checker imports."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _imported(child)
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        named = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
        if isinstance(named, ast.Name):  # base/beside.py: loaded early, imported where it is used as well
            return
        assert isinstance(named, ast.Constant), f"line {node.lineno}: a module whose name is computed"
        assert named is node.args[0] or str(named.value).startswith("bleep_cli."), "its own rooms may be computed"
        yield str(named.value)


@cache
def bringing(module: str) -> frozenset[str]:
    """The installed distributions that hold a module; one of the module's own name where none is installed."""
    return frozenset(map(canonicalize_name, _distributions().get(module, [module])))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def undeclared(folder: Path, declared: set[str]) -> dict[str, set[str]]:
    """Modules that none of the declared distributions brings, with who imports them."""
    return {module: files for module, files in imports_of(folder).items() if not declared & bringing(module)}


def declared(licences: ModuleType, *extras: str) -> set[str]:
    return {name for extra in ("", *extras) for name in licences.direct(extra)}


def test_the_runtime_imports_only_what_it_asks_for(licences: ModuleType) -> None:
    assert {"numpy", "PIL", "openslide", *RUNTIME_EXTRAS} <= imports_of(RUNTIME).keys()
    assert undeclared(RUNTIME, declared(licences, *RUNTIME_EXTRAS.values())) == {}


@pytest.mark.parametrize(("module", "extra"), list(RUNTIME_EXTRAS.items()))
def test_only_extras_bring_what_not_every_user_needs(licences: ModuleType, module: str, extra: str) -> None:
    assert licences.direct(extra) == [module]
    others = declared(licences, *(set(RUNTIME_EXTRAS.values()) - {extra}))
    assert undeclared(RUNTIME, others).keys() == {module}


@pytest.mark.torch
def test_training_imports_only_what_it_asks_for(licences: ModuleType) -> None:
    assert {"torch", "scanpy", "onnx"} <= imports_of(TRAINING).keys()
    assert undeclared(TRAINING, declared(licences, "cpu", "train", "timm", "tensorboard")) == {}


def test_the_runtime_asks_only_for_what_it_uses(licences: ModuleType) -> None:
    used = {name for module in imports_of(RUNTIME) for name in bringing(module)}
    assert set(licences.direct()) - used == THROUGH_OTHERS.keys()
    source = "".join(path.read_text(encoding="utf-8") for path in RUNTIME.rglob("*.py"))
    assert {name for name, reason in THROUGH_OTHERS.items() if reason not in source} == set()


def test_cpu_and_gpu_are_never_installed_together(licences: ModuleType) -> None:
    extras = licences.project()[1].keys() - {""}
    held = {extra: {name for name in licences.direct(extra) if name.startswith("onnxruntime")} for extra in extras}
    assert {extra: names for extra, names in held.items() if names} == {
        "cpu": {"onnxruntime"},
        "gpu": {"onnxruntime-gpu"},
    }
    assert not {name for name in licences.direct() if name.startswith("onnxruntime")}


def test_both_onnxruntimes_have_the_same_bounds(licences: ModuleType) -> None:
    cpu, gpu = ([str(one.specifier) for one in licences.asked(extra)] for extra in ("cpu", "gpu"))
    assert cpu == gpu


def test_the_runtime_and_its_tests_need_no_training_stack(licences: ModuleType) -> None:
    assert not TRAINING_STACK & declared(licences, "gpu", "test", *RUNTIME_EXTRAS.values())
    assert set(licences.direct("test")) <= set(licences.direct("dev"))
