"""``bleep inspect COHORT.toml``."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.commands.console import Console


def inspect_cohort(console: Console, path: Path, out: Path | None, *, force: bool) -> None:
    """Tells of every section of a cohort file, and draws their spots into ``out``.

    Raises an error of the class of the first section's that is refused; for warnings, too, where the console is
    strict.
    """
    from bleep_cli import api
    from bleep_cli.errors import ReferenceError
    from bleep_cli.findings import refuse_warnings

    with console.progress(path.name) as progress:
        report = api.inspect_cohort(path, out, force=force, progress=progress)
    console.data(api.cohort_record(report), api.cohort_lines(report))
    for finding in report.findings:
        console.finding(finding)
    for error in report.errors:
        console.error(error)
    if report.errors:
        refused = [section.id for section in report.sections if section.error is not None]
        raise type(report.errors[0])(
            f"{path.name}: {len(refused)} of {len(report.sections)} sections cannot be used: {', '.join(refused)}"
        )
    if console.strict:
        refuse_warnings(report.findings, ReferenceError)
