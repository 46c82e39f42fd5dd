"""The bill of materials of the runtime, CycloneDX as JSON: what a lock installs, with licences, hashes, needs.

    python tools/supply/sbom.py PYTHON LOCK OUT      (make sbom)

``PYTHON`` is of an environment that was installed by ``LOCK``; what is there by other ways, such as pip, is left
out. cyclonedx-bom reads the environment, and its schema is asked whether the outcome is one; it runs this file.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VERSION = "1.6"
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+) \\\n    --hash=sha256:(?P<sha256>[0-9a-f]{64})\n")
Bom = dict[str, Any]


def name_of(component: Bom) -> str:
    """Canonical (PEP 503)."""
    return re.sub(r"[-_.]+", "-", component["name"]).lower()


def read_environment(python: str) -> Bom:
    """What is installed there, with the project as what it is for."""
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        python,
        "--pyproject",
        str(ROOT / "pyproject.toml"),
    ]
    command += ["--mc-type", "application", "--output-reproducible", "--sv", VERSION, "--of", "JSON", "-o", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: Bom = json.loads(done.stdout)
    return found


def of_lock(bom: Bom, lock: str) -> Bom:
    """The same with the components of the text of a lock alone, each with its file's hash.

    ``ValueError`` for what the lock holds and the environment does not, in that version.
    """
    locked = {match["name"]: match for match in LINE.finditer(lock)}
    kept = [component for component in bom["components"] if name_of(component) in locked]
    there = {name_of(component): component["version"] for component in kept}
    wrong = [name for name, match in locked.items() if there.get(name) != match["version"]]
    if wrong:
        raise ValueError(f"the environment is not that of the lock: {', '.join(wrong)}; make it anew")
    hashed = [
        component | {"hashes": [{"alg": "SHA-256", "content": locked[name_of(component)]["sha256"]}]}
        for component in kept
    ]
    refs = {component["bom-ref"] for component in kept} | {bom["metadata"]["component"]["bom-ref"]}
    needs = [
        entry | ({"dependsOn": [ref for ref in entry["dependsOn"] if ref in refs]} if "dependsOn" in entry else {})
        for entry in bom.get("dependencies", [])
        if entry["ref"] in refs
    ]
    return bom | {"components": hashed, "dependencies": needs}


def faults(text: str) -> str | None:
    """What CycloneDX's schema objects to; None for a sound one."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.from_version(VERSION)).validate_str(text)
    return None if error is None else str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("lock", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    try:
        bom = of_lock(read_environment(given.python), given.lock.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(str(error))
    text = json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if (fault := faults(text)) is not None:
        sys.exit(f"this is no CycloneDX {VERSION}: {fault}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text, encoding="utf-8")
    print(f"{given.out}: {len(bom['components'])} components")


if __name__ == "__main__":
    main()
