"""Words that messages share."""

from __future__ import annotations

import pytest

from bleep_cli.base.reasons import did_you_mean, first_line, told


@pytest.mark.parametrize(
    ("gene", "names"), [("glul", {"GLUL"}), ("cyp3a4", {"CYP3A4", "CYP3A5"}), ("QQQQ", set())]
)
def test_names_most_like_it_letter_case_apart(gene: str, names: set[str]) -> None:
    hint = did_you_mean(gene, ["CYP3A4", "CYP3A5", "GLUL", "ALB"])
    assert set(hint.removeprefix("; did you mean ").removesuffix("?").split(", ")) - {""} == names


def test_the_same_name_in_another_spelling_comes_first_and_each_of_several_has_its_own() -> None:
    known = ["ERBB3", "ERBB4", "ERBB2", "HLA-A", "HLA-B", "KRT8"]
    assert did_you_mean("erbb2", known).startswith("; did you mean ERBB2")
    assert did_you_mean("hla.a", known).startswith("; did you mean HLA-A")
    assert did_you_mean(["Erbb2", "krt8", "QQQQ"], known) == "; did you mean ERBB2, KRT8?"
    assert did_you_mean(["ERBB5", "QQQQ"], known).startswith("; did you mean ERBB")


def test_what_others_say_is_made_printable() -> None:
    assert first_line(ValueError("a\x1b[31m\ud800b\nsecond line")) == r"a\x1b[31m\ud800b"
    assert told(MemoryError()) == "it takes more memory than there is"
    assert told(OSError(2, "No such file", "/folder/of/a/patient/x.json")) == "x.json: No such file"
    assert told(ValueError("broken")) == "broken" and told(KeyError("k")) == "KeyError: 'k'"
