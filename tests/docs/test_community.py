"""The files that are read by programs and by newcomers: citation, hooks, forms, policies."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from project_text import ROOT, project_files, text_of

PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
CITATION: dict[str, Any] = yaml.safe_load(text_of("CITATION.cff"))
FORMS = sorted(f for f in project_files() if re.match(r"\.github/ISSUE_TEMPLATE/(?!config)\w+\.yml", f))
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "docs/releasing.md")
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_the_citation_has_what_the_format_requires() -> None:
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert isinstance(CITATION["message"], str)


def test_the_citation_is_of_this_project() -> None:
    assert CITATION["authors"] == [{"name": author["name"]} for author in PROJECT["authors"]]
    assert str(CITATION["version"]) == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert set(CITATION["keywords"]) == set(PROJECT["keywords"])


def test_the_citation_names_the_paper_that_the_readme_names() -> None:
    (paper,) = CITATION["references"]
    assert {"type", "title", "authors"} <= paper.keys()
    assert paper["type"] == "conference-paper"
    assert paper["year"] == 2023
    assert {author.keys() == {"family-names", "given-names"} for author in paper["authors"]} == {True}
    readme = " ".join(text_of("README.md").split())
    assert (
        f"{paper['authors'][0]['family-names']} et al., *{paper['title']}*, {paper['conference']['name']}"
        in readme
    )
    assert paper["url"] in readme


def test_hooks_are_local_and_check_what_make_lint_checks() -> None:
    repos = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    makefile = text_of("Makefile").split("\nlint:")[1].split("\n\n")[0]
    wanted = {tuple(words.split()[:2]) for words in re.findall(r"bin/(?:python -m )?([\w -]+)", makefile)}
    found = {tuple(hook["entry"].removeprefix("python -m ").split()[:2]) for hook in hooks}
    assert found == wanted
    files = [hook["files"] for hook in hooks if "files" in hook]
    assert all(re.search(pattern, "train/bleep_train/model/loss.py") for pattern in files)
    assert not any(re.search(pattern, "docs/results.md") for pattern in files)


@pytest.mark.parametrize("form", FORMS)
def test_issue_forms_ask_for_the_machine_and_for_no_patient_data(form: str) -> None:
    content = yaml.safe_load(text_of(form))
    assert {"name", "description", "body"} <= content.keys()
    assert {field["type"] for field in content["body"]} <= FIELDS
    ids = [field["id"] for field in content["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    assert all("label" in field["attributes"] for field in content["body"] if field["type"] != "markdown")
    asked = text_of(form)
    assert "`bleep doctor --json`" in asked
    assert "patient" in asked


def test_there_is_a_form_for_faults_and_one_for_wishes() -> None:
    assert [form.rpartition("/")[2] for form in FORMS] == ["bug.yml", "feature.yml"]


@pytest.mark.parametrize("page", PAGES)
def test_policies_name_no_person_and_no_address(page: str) -> None:
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", text_of(page))


def test_conduct_and_security_go_through_one_private_channel() -> None:
    assert "security advisories" in text_of("SECURITY.md")
    assert "[SECURITY.md](SECURITY.md)" in text_of("CODE_OF_CONDUCT.md")


def test_the_readme_links_every_page() -> None:
    """Pages that another page leads to are reached from there."""
    linked: set[str] = set()
    waiting = ["README.md"]
    while waiting:
        page = waiting.pop()
        for target in re.findall(r"\]\(([^)#\s]+)\)", text_of(page)):
            path = (ROOT / page).parent.joinpath(target).resolve()
            if path.is_relative_to(ROOT) and path.suffix == ".md":
                found = path.relative_to(ROOT).as_posix()
                if found not in linked:
                    linked.add(found)
                    waiting.append(found)
    pages = {f for f in project_files() if f.endswith(".md") and not f.startswith(".github/")}
    assert pages - linked == {"README.md"}


def test_the_readme_explains_its_words_where_they_first_stand() -> None:
    readme = text_of("README.md")
    for word in ("bundle", "towers", "panel", "views"):
        assert f"*{word}*" in readme, word
        first = re.search(rf"\b{word.removesuffix('s')}s?\b", readme.split("## Use")[1])
        assert first is not None
        assert first.start() == readme.split("## Use")[1].index(f"*{word}*") + 1, word
