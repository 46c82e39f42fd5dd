"""Signatures in OpenSSH's format, made and checked by ``ssh-keygen`` (OpenSSH 8.1 or later), without a network.

Format: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bleep_cli.base.reasons import without_folders
from bleep_cli.errors import DeviceError

PROGRAM = "ssh-keygen"
NAMESPACE = "bleep-reference"
"""What a signature is for: one of anything else by the same key, such as a commit of git, does not pass."""
SECONDS = 60  # to check a signature
TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""Kinds of keys that are taken; DSA's are not."""
_WHO = "signer"  # what a key is called between us and the program
_FAILED = b"Could not verify signature"  # said of a signature; else it is the program that failed
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}")
_KEY = re.compile(rf"({'|'.join(map(re.escape, TYPES))}) ([A-Za-z0-9+/]+={{0,2}})(?: .*)?")


def public_keys(text: str) -> list[str]:
    """The keys of a ``.pub`` file, ``TYPE BASE64`` each, without what they are called; none of a text that holds
    anything else, such as a key with options before it."""
    lines = [line.strip() for line in text.splitlines()]
    found = [_KEY.fullmatch(line) for line in lines if line and not line.startswith("#")]
    return [f"{key[1]} {key[2]}" for key in found if key] if all(found) else []


def sign(message: bytes, key: Path) -> bytes:
    """The signature of a message by a private key, or a public one whose private one an agent or a token holds.

    ``ssh-keygen`` asks for a passphrase at the terminal. Raises ``ValueError`` with its words for a key that it
    cannot use, ``DeviceError`` where there is no ``ssh-keygen``.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "content"
        file.write_bytes(message)
        words = ["-Y", "sign", "-f", os.fspath(key.absolute()), "-n", NAMESPACE, str(file)]
        done = subprocess.run([_program(), *words], capture_output=True, check=False)
        if done.returncode:
            raise ValueError(_why(done.stderr))
        return file.with_name("content.sig").read_bytes()


def signer_among(message: bytes, signature: bytes, keys: Sequence[str]) -> str | None:
    """The fingerprint (``SHA256:...``) of the key that signed the message; None if none of ``keys`` has.

    Raises ``DeviceError`` where ``ssh-keygen`` is not there or cannot run.
    """
    trusted = "".join(f"{_WHO} {key}\n" for key in keys)
    return _checked(message, signature, ["verify", "-I", _WHO], trusted)


def signer_of(message: bytes, signature: bytes) -> str | None:
    """The same of whatever key signed it; None if it is no signature of that message."""
    return _checked(message, signature, ["check-novalidate"], "")


def _checked(message: bytes, signature: bytes, how: Sequence[str], trusted: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        file, signers = Path(folder) / "signature", Path(folder) / "signers"
        file.write_bytes(signature)
        signers.write_text(trusted, encoding="ascii")
        words = ["-Y", *how, "-n", NAMESPACE, "-s", str(file), *(["-f", str(signers)] if trusted else [])]
        try:
            done = subprocess.run(
                [_program(), *words], input=message, capture_output=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return None
    found = _FINGERPRINT.search(done.stdout.decode("ascii", "replace"))
    if found and done.returncode == 0:
        return found[0]
    if _FAILED not in done.stdout + done.stderr:
        raise DeviceError(f"{PROGRAM}, which checks signatures, cannot run: {_why(done.stderr)}")
    return None


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise DeviceError(f"{PROGRAM}, which makes and checks signatures, is not installed; it is of OpenSSH")
    return found


def _why(said: bytes) -> str:
    """What the program says of its failure, without folders: the last of its lines."""
    lines = without_folders(said.decode("utf-8", "replace")).strip().splitlines()
    return lines[-1].strip() if lines else "it gives no reason"
