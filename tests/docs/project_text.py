"""What the tests of texts share: the project's files, the names its modules define, the rooms and their layers."""

from __future__ import annotations

import ast
import io
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"bleep_cli": ROOT / "bleep_cli", "bleep_train": ROOT / "train" / "bleep_train"}
FOLDERS = (".ci", ".github", "artifacts", "benchmarks", "bleep_cli", "docs", "install", "tests", "tools", "train")
TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".cff")


@cache
def project_files() -> frozenset[str]:
    """Every file of the project, relative to its root; neither environments nor caches."""
    there = [path for path in ROOT.iterdir() if path.is_file()]
    there += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return frozenset(path.relative_to(ROOT).as_posix() for path in there if "__pycache__" not in path.parts)


@cache
def code_files() -> tuple[str, ...]:
    """The .py files of both packages."""
    return tuple(
        sorted(f for f in project_files() if f.endswith(".py") and f.startswith(("bleep_cli/", "train/")))
    )


def text_of(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


@cache
def tree_of(file: str) -> ast.Module:
    return ast.parse(text_of(file))


def docstrings_and_comments(file: str) -> Iterator[str]:
    """Every string that stands alone (docstrings of modules, classes, functions, attributes) and every comment."""
    for node in ast.walk(tree_of(file)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(text_of(file)).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


@cache
def names_in(file: str) -> frozenset[str]:
    """What a module defines or imports, and what its classes hold as ``Class.member``; by reading, not running."""
    return frozenset(_names(tree_of(file).body))


def _names(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield inside + node.name
        if isinstance(node, ast.ClassDef) and not inside:
            yield from _names(node.body, f"{node.name}.")
            for inner in ast.walk(node):  # self.x = ...
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    yield f"{node.name}.{inner.attr}"
        elif isinstance(node, ast.If | ast.Try):
            yield from _names(node.body, inside)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (inside + (alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (inside + n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def module_file(dotted: str) -> str | None:
    """The file of a module or package of ours, relative to the root."""
    package, *rest = dotted.split(".")
    path = PACKAGES[package].joinpath(*rest)
    for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.relative_to(ROOT).as_posix()
    return None


@cache
def layers(package: str) -> tuple[tuple[str, ...], ...]:
    """The floors of a package from the top, each with its rooms, as the import contract has them; a room in
    brackets is not there yet."""
    config = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]
    (contract,) = [c for c in config["contracts"] if c["type"] == "layers" and c["containers"] == [package]]
    return tuple(tuple(part.strip() for part in floor.split("|")) for floor in contract["layers"])


def planned(package: str) -> set[str]:
    """Rooms that the contract keeps a floor for and that are not there yet."""
    names = {room.strip("()") for floor in layers(package) for room in floor if room.startswith("(")}
    return {name for name in names if module_file(f"{package}.{name}") is None}
