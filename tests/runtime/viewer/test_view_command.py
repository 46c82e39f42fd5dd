"""``bleep view`` as a process: an address for scripts, a line at Ctrl-C, its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bleep_cli.cli import app
from bleep_cli.viewer.server import Server


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent to a process")
def test_the_address_is_printed_the_page_is_served_and_ctrl_c_ends_it_with_a_line(
    viewed: Path, query_slide: Path, small_bundle: Path, openseadragon: bool
) -> None:
    if not openseadragon:
        pytest.skip("OpenSeadragon was not fetched (make viewer)")
    words = [
        "view",
        str(viewed),
        "--slide",
        str(query_slide),
        "--ref",
        str(small_bundle),
        "--no-browser",
        "--json",
    ]
    # a shell's background jobs ignore SIGINT, and so would what they start
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{heed}; from bleep_cli.cli import main; main()", *words, "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        address = json.loads(process.stdout.readline())["address"]
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"<title>BLEEP viewer</title>" in page.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.rpartition("/")[0][:-1] + "/", timeout=30)
        process.send_signal(signal.SIGINT)
        rest, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, rest) == (130, "")
    assert told.splitlines() == ["bleep: interrupted; nothing half-written was left"]


def test_the_browser_is_opened_at_the_address_unless_it_is_not_wanted(
    viewed: Path, query_slide: Path, openseadragon: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))  # type: ignore[func-returns-value]
    monkeypatch.setattr(Server, "serve", lambda _: None)
    monkeypatch.delenv("BLEEP_REF", raising=False)
    words = ["view", str(viewed), "--slide", str(query_slide)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert opened == [told.stdout.strip()]
    assert "in your browser" in told.stderr
    quiet = CliRunner().invoke(app, [*words, "--no-browser"])
    assert quiet.exit_code == 0
    assert "open this address" in quiet.stderr
    assert len(opened) == 1
