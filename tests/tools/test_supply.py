"""The bill of materials holds what the lock holds, by its schema; an audit that could ask nobody says so."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = "# head\n" + "".join(
    f"{name} \\\n    --hash=sha256:{digit * 64}\n" for name, digit in (("a-b==2", "1"), ("c==1", "2"))
)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "supply"))
    return importlib.import_module


def component(name: str, version: str) -> dict[str, Any]:
    return {"bom-ref": f"{name}=={version}", "name": name, "version": version, "type": "library"}


def bom(*components: dict[str, Any]) -> dict[str, Any]:
    """As cyclonedx-bom makes it of an environment."""
    refs = [one["bom-ref"] for one in components]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"bom-ref": "root", "name": "own", "type": "application"}},
        "components": list(components),
        "dependencies": [{"ref": "root", "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }


def test_the_bill_holds_what_the_lock_holds_with_its_hashes(tool: Callable[[str], ModuleType]) -> None:
    found = tool("sbom").of_lock(bom(component("A.b", "2"), component("c", "1"), component("pip", "26")), LOCK)
    held = {one["name"]: one["hashes"] for one in found["components"]}
    assert held == {
        "A.b": [{"alg": "SHA-256", "content": "1" * 64}],
        "c": [{"alg": "SHA-256", "content": "2" * 64}],
    }
    assert found["dependencies"] == [
        {"ref": "root", "dependsOn": ["A.b==2", "c==1"]},
        {"ref": "A.b==2"},
        {"ref": "c==1"},
    ]


def test_an_environment_of_other_versions_is_told(tool: Callable[[str], ModuleType]) -> None:
    with pytest.raises(ValueError, match="is not that of the lock: a-b, c; make it anew"):
        tool("sbom").of_lock(bom(component("a-b", "3")), LOCK)


def supply_python() -> str:
    """Of the environment that make sbom makes."""
    made = ROOT / ".venv" / "supply" / "bin" / "python"
    if not made.is_file():
        pytest.skip("cyclonedx-bom is not installed (make sbom)")
    return str(made)


def test_the_schema_passes_it_and_nothing_else(tool: Callable[[str], ModuleType]) -> None:
    sound = tool("sbom").of_lock(bom(component("a-b", "2"), component("c", "1")), LOCK)
    broken = sound | {"components": [{"name": "c"}]}
    ask = f"import sys; sys.path.insert(0, {str(ROOT / 'tools' / 'supply')!r}); import sbom; "
    ask += "print([sbom.faults(text) is None for text in sys.stdin.read().splitlines()])"
    given = "\n".join(map(json.dumps, (sound, broken)))
    done = subprocess.run([supply_python(), "-c", ask], input=given, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, False]\n"


@pytest.mark.slow
def test_the_bill_of_the_runtime(tmp_path: Path) -> None:
    """Of the environment that make demo makes by the lock."""
    runtime, out = ROOT / ".venv" / "demo" / "bin" / "python", tmp_path / "bom.json"
    which = [str(runtime), str(ROOT / "tools" / "distribution" / "which_lock.py")]
    if not runtime.is_file():
        pytest.skip("the runtime's own environment was not made (make demo)")
    lock = subprocess.run(which, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    if not lock:
        pytest.skip("there is no lock for this Python and system")
    command = [
        supply_python(),
        str(ROOT / "tools" / "supply" / "sbom.py"),
        str(runtime),
        str(ROOT / lock),
        str(out),
    ]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(out.read_text(encoding="utf-8"))
    text = (ROOT / lock).read_text(encoding="utf-8")
    versions = {(c["name"].lower().replace("_", "-"), c["version"]) for c in found["components"]}
    assert len(versions) == text.count("--hash=sha256:") and ("numpy", dict(versions)["numpy"]) in versions
    assert all(c["hashes"][0]["content"] in text for c in found["components"])
    assert sum("licenses" in c for c in found["components"]) > 0.9 * len(versions)
    (root,) = (d for d in found["dependencies"] if d["ref"] == found["metadata"]["component"]["bom-ref"])
    assert len(root["dependsOn"]) > 10
    assert str(ROOT) not in out.read_text(encoding="utf-8")


SOUND = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "line", "codes"),
    [
        ([SOUND], "x.txt: no known vulnerability in 1 distributions", (0, 0)),
        ([SOUND, BAD], "x.txt: b 2: PYSEC-1, mended in 3", (1, 1)),
        ([SOUND, UNKNOWN], "x.txt: not checked in part: c", (0, 2)),
        ([UNKNOWN], "x.txt: not checked (the index that was asked tells nothing of vulnerabilities)", (0, 2)),
        ("", "x.txt: not checked (no route to host)", (0, 2)),
        (None, "x.txt: not checked (no answer in 120 s)", (0, 2)),
    ],
)
def test_an_audit_says_what_it_knows(
    tool: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: Any,
    line: str,
    codes: tuple[int, int],
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert {"--disable-pip", "--require-hashes"} <= set(command) and command[4] == "x.txt"
        if answer is None:
            raise subprocess.TimeoutExpired(command, 120)
        said = json.dumps({"dependencies": answer}) if answer else ""
        return subprocess.CompletedProcess(command, 1, said, "Traceback\nno route to host\n")

    audit = tool("audit")
    monkeypatch.setattr(audit.subprocess, "run", run)
    for must, code in zip(([], ["--must"]), codes, strict=True):
        monkeypatch.setattr(sys, "argv", ["audit.py", *must, "x.txt"])
        assert audit.main() == code
        assert capsys.readouterr().out == f"{line}\n"
