"""Words that messages share."""

from __future__ import annotations

import pytest

from bleep_cli.base.reasons import did_you_mean


@pytest.mark.parametrize(
    ("gene", "names"), [("glul", {"GLUL"}), ("cyp3a4", {"CYP3A4", "CYP3A5"}), ("QQQQ", set())]
)
def test_names_most_like_it_letter_case_apart(gene: str, names: set[str]) -> None:
    hint = did_you_mean(gene, ["CYP3A4", "CYP3A5", "GLUL", "ALB"])
    assert set(hint.removeprefix("; did you mean ").removesuffix("?").split(", ")) - {""} == names
