"""docs/architecture.md is true: rooms, drawings, recipes, words; and the rooms keep the rules of the house."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_text import PACKAGES, ROOT, code_files, layers, names_in, planned, text_of, tree_of

PAGE = text_of("docs/architecture.md")
DRAWINGS = re.findall(r"^`(bleep|bleep-train) .+\n(?:.+\n)*\n```text\n([^`]*)```", PAGE, re.MULTILINE)
LINE = re.compile(r"^([│├└─ ]*)([\w.]+) +(.+)$")
INDENT = 3  # signs by which a called room stands further right than its caller
OWN_SENSE = {  # words that mean something of their own here
    *("section", "slide", "spot", "tile", "field of view", "view", "grid", "piece", "mpp", "level 0", "l0"),
    *("panel", "tower", "encoder", "reference", "bundle", "key", "receipt", "donor", "cohort", "run"),
    *("student", "teacher", "study", "fold", "method", "protocol"),
}
CALLED = r"\b(calls?|asked|opens?|reads?|writes?|builds?|prepare|registers|chooses|searches)\b.*\.$"
MOST_FILES, MOST_LINES, MOST_RECIPE_LINES = 14, 300, 5


def rooms() -> list[Path]:
    """Every folder with code in it, but the two packages themselves."""
    return sorted(p.parent for top in PACKAGES.values() for p in top.rglob("*/__init__.py"))


def paragraphs(room: Path) -> list[str]:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return [" ".join(part.split()) for part in docstring.split("\n\n")]


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.relative_to(ROOT).as_posix())
def test_a_room_says_what_it_is_and_who_calls_it_when(room: Path) -> None:
    what, *who = paragraphs(room)
    assert what.endswith(".")
    assert any(re.search(CALLED, part) for part in who), who


def test_the_rooms_are_listed_with_their_first_sentence_from_the_top_floor_down() -> None:
    listed = re.findall(r"^- `([\w/]+)/` — (.+(?:\n  .+)*)", PAGE, re.MULTILINE)
    wanted = {room.relative_to(ROOT).as_posix(): paragraphs(room)[0].replace("``", "`") for room in rooms()}
    assert {room: " ".join(text.split()) for room, text in listed} == wanted
    for package, top in PACKAGES.items():
        inside = [room for room, _ in listed if room.startswith(f"{top.relative_to(ROOT).as_posix()}/")]
        floors = [floor_of(package, (ROOT / room).relative_to(top).parts[0]) for room in inside]
        assert floors == sorted(floors)


def test_a_folder_is_overlooked_at_a_glance_and_a_file_read_in_one_sitting() -> None:
    files = [ROOT / file for file in code_files()]
    folders = {folder: sum(file.parent == folder for file in files) for folder in {f.parent for f in files}}
    assert len(folders) > len(PACKAGES)
    assert not {folder: n for folder, n in folders.items() if n > MOST_FILES}
    lines = {file: len(text_of(file).splitlines()) for file in code_files()}
    assert not {file: n for file, n in lines.items() if n > MOST_LINES}


def floor_of(package: str, room: str) -> int:
    (floor,) = [i for i, names in enumerate(layers(package)) if room in names or f"({room})" in names]
    return floor


def files_of(package: str, room: str) -> list[str]:
    top = PACKAGES[package].relative_to(ROOT).as_posix()
    return [f for f in code_files() if f.startswith(f"{top}/{room}/") or f == f"{top}/{room}.py"]


def words_of(files: list[str]) -> set[str]:
    """Every name that the code of some files uses or imports."""
    words: set[str] = set()
    for node in (node for file in files for node in ast.walk(tree_of(file))):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.alias):
            words.add(node.name)
    return words


def imports(files: list[str], package: str, room: str) -> bool:
    """Whether one of the files imports the room, wherever in it the import stands."""
    for node in (node for file in files for node in ast.walk(tree_of(file))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if any(f"{name}.".startswith(f"{package}.{room}.") for name in found):
                return True
    return False


def drawn(command: str, drawing: str) -> Iterator[tuple[tuple[str, str] | None, tuple[str, str], str]]:
    """(caller, called, words) of every line, a room as (package, room); the caller of the first line is None."""
    package = {"bleep": "bleep_cli", "bleep-train": "bleep_train"}[command]
    above: list[tuple[str, str]] = []
    for line in drawing.splitlines():
        found = LINE.match(line)
        assert found, line
        indent, name, words = found.groups()
        depth = len(indent) // INDENT
        assert len(indent) % INDENT == 0, line
        assert depth <= len(above), line
        prefix, _, room = name.rpartition(".")
        above[depth:] = [(prefix or package, room)]
        yield (above[depth - 1] if depth else None), above[depth], words


CALLS = [call for command, drawing in DRAWINGS for call in drawn(command, drawing)]


@pytest.mark.parametrize(("caller", "called", "words"), CALLS)
def test_a_drawn_call_is_one_that_the_code_makes_and_points_down(
    caller: tuple[str, str] | None, called: tuple[str, str], words: str
) -> None:
    defined = {name.rpartition(".")[2] for file in files_of(*called) for name in names_in(file)}
    named = set(re.findall(r"(\w+)\(\)", words))
    assert files_of(*called)
    assert named <= defined
    if caller is None:
        return
    assert imports(files_of(*caller), *called)
    assert named <= words_of(files_of(*caller))
    if caller[0] == called[0]:
        assert floor_of(*caller) < floor_of(*called)
    else:
        assert (caller[0], called[0]) == ("bleep_train", "bleep_cli")


def test_both_ways_are_drawn_through_the_rooms() -> None:
    assert len(DRAWINGS) == PAGE.count("```text") == 11
    every = {
        (package, room.relative_to(top).parts[0])
        for package, top in PACKAGES.items()
        for room in rooms()
        if room.is_relative_to(top)
    }
    beside_the_way = {("bleep_cli", "base"), ("bleep_cli", "checks"), ("bleep_train", "phantom")}
    assert every - {called for _, called, _ in CALLS} == beside_the_way


def test_recipes_are_short_and_name_the_file_to_copy() -> None:
    section = PAGE.split("\n## Where to add\n")[1].split("\n## ")[0]
    recipes = dict(re.findall(r"^### (.+)\n\n((?:.+\n)+)", section, re.MULTILINE))
    assert len(recipes) == section.count("\n### ") == 8
    for name, recipe in recipes.items():
        assert len(recipe.splitlines()) <= MOST_RECIPE_LINES, name
        assert re.search(r"[Cc]opy\b.*?`[\w/]+\.py`", recipe, re.DOTALL), name
        assert re.search(r"[Tt]ests? beside `tests/", recipe), name


def test_what_recipes_name_is_in_the_files_that_they_name() -> None:
    section = PAGE.split("\n## Where to add\n")[1].split("\n## ")[0]
    for recipe in section.split("\n### ")[1:]:
        text = "".join(text_of(path) for path in re.findall(r"`([\w/]+\.py)`", recipe))
        for name in re.findall(r"`([A-Za-z_]\w+)`", recipe):
            assert re.search(rf"\b{name}\b", text), name


def test_rooms_to_come_are_not_there_yet() -> None:
    section = PAGE.split("\n## Rooms to come\n")[1]
    files = re.findall(r"^\| (\w+/\w+) \|", section, re.MULTILINE)
    folders = re.findall(r"^\| (\w+)/ ", section, re.MULTILINE)
    assert files and folders
    assert not [file for file in files if list((ROOT / "bleep_cli").glob(f"{file}*"))]
    assert set(folders) <= planned("bleep_cli") | planned("bleep_train")


def test_every_word_of_its_own_sense_is_explained() -> None:
    listed = re.findall(r"^\| ([\w ,]+) \| ", PAGE.split("\n## Words\n")[1].split("\n## ")[0], re.MULTILINE)
    assert {word.strip() for row in listed[1:] for word in row.split(",")} == OWN_SENSE
