"""docs/references.md lists the recipes as they are; another page says where a reference comes from."""

from __future__ import annotations

from pathlib import Path

from bleep_train.commands.recipe import overview
from bleep_train.recipes.manifest import manifests

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_command() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert table == overview(manifests()).markdown()


def test_the_page_that_the_readme_names_answers_in_three_lines() -> None:
    assert "(docs/make-a-reference.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "make-a-reference.md").read_text(encoding="utf-8")
    answer = text.split("**Where do I get a reference?**\n\n")[1].split("\n\n")[0].splitlines()
    assert [line[:2] for line in answer] == ["1.", "2.", "3."]
    assert "(references.md)" in answer[1]
