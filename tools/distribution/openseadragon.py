"""Puts OpenSeadragon, which pans and zooms ``bleep view``, beside the viewer's own files: ``make viewer``.

One release, from npm's registry, checked by its hash before a byte of it is kept. The folder that it goes to is
ignored by git: the repository holds no code of others, the wheel does, with its licence.

python tools/distribution/openseadragon.py
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "6.1.1"
SHA512 = (
    "83888a7b6abc07ae3649a053dfec78645dfff1bd53c4f3f27728e6b6b38b803a"
    "e561630a77d65733ed426ffc5af435724a4becffb97a1d1d671ca7c3e45dd3b3"
)
REGISTRY = "https://registry.npmjs.org"
FOLDER = Path(__file__).parents[2] / "bleep_cli" / "viewer" / "assets" / "openseadragon"
KEPT = {
    "package/build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
    "package/LICENSE.txt": "LICENSE.txt",
}
PATIENCE_S = 30


def is_there(folder: Path = FOLDER) -> bool:
    """Whether all of it lies there already, of this release."""
    script = folder / "openseadragon.min.js"
    here = all((folder / name).is_file() for name in KEPT.values())
    return here and VERSION.encode() in script.read_bytes()[:200]


def fetch(folder: Path = FOLDER) -> None:
    """Downloads, checks and unpacks it. ``OSError`` without a network, ``ValueError`` for another file."""
    registry = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/")
    address = f"{registry}/openseadragon/-/openseadragon-{VERSION}.tgz"
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
        packed = answer.read()
    unpack(packed, folder)


def unpack(packed: bytes, folder: Path) -> None:
    """Keeps the script and the licence of a package of the right hash. ``ValueError`` for another one."""
    found = hashlib.sha512(packed).hexdigest()
    if found != SHA512:
        raise ValueError(f"openseadragon {VERSION}: the file has the hash {found[:16]}..., not {SHA512[:16]}...")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        for inside, name in KEPT.items():
            member = package.extractfile(inside)
            assert member, inside
            (folder / name).write_bytes(member.read())


def main() -> None:
    """Fetches it unless it is there."""
    if not is_there():
        try:
            fetch()
        except (OSError, ValueError) as error:
            sys.exit(f"openseadragon cannot be fetched: {error}")
    print(f"{FOLDER} (OpenSeadragon {VERSION})")


if __name__ == "__main__":
    main()
