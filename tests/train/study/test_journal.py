"""Results that survive a stop."""

from __future__ import annotations

from pathlib import Path

from bleep_train.study.journal import Journal, fingerprint


def test_rows_are_found_again_the_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    journal = Journal(path)
    for value in (1, 2):
        journal.add({"job": {"fold": "A", "seed": 0}, "value": value})
    for again in (journal, Journal(path)):
        assert again.find({"fold": "A"}) == {"job": {"fold": "A", "seed": 0}, "value": 2}
        assert again.find({"fold": "A", "seed": 1}) is None
        assert again.find({"fold": "A", "other": 1}) is None


def test_a_line_that_was_being_written_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    whole = '{"job": {"fold": "A"}}\n'
    path.write_text(whole + '{"job": {"fo')
    journal = Journal(path)
    assert journal.rows == [{"job": {"fold": "A"}}]
    journal.add({"job": {"fold": "B"}})
    assert path.read_text() == whole + '{"job": {"fold": "B"}}\n'
    path.write_text('{"jo')
    assert Journal(path).rows == []
    assert path.read_text() == ""


def test_fingerprints_tell_configurations_apart_and_not_their_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": (2,), "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
