"""The detached signature of a reference: the file ``BUNDLE.sig`` beside it, of the line with its content hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bleep_cli.base.files.atomic import atomic_path, check_free
from bleep_cli.base.files.regular import read_regular
from bleep_cli.base.reasons import told
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.limits import MOST_KEY_BYTES
from bleep_cli.signing import openssh


def signature_of(bundle: Path) -> Path:
    """Where a bundle's signature lies: beside it, whether it is a folder or a zip."""
    whole = bundle.absolute()
    return whole.with_name(f"{whole.name}.sig")


def message(content_sha256: str) -> bytes:
    """What is signed: the content hash, 64 hexadecimal digits, and a newline."""
    return f"{content_sha256}\n".encode("ascii")


def read_key(key: Path | str) -> list[str]:
    """The public keys that a file holds. ``UsageError`` for one that holds none."""
    file = Path(key)
    try:
        text = read_regular(file, MOST_KEY_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise UsageError(f"{option('ref_key')} {file.name} cannot be read ({told(error)})") from error
    if "PRIVATE KEY" in text:
        raise UsageError(f"{option('ref_key')} {file.name} is a private key; give the public one, {file.name}.pub")
    found = openssh.public_keys(text)
    if not found:
        raise UsageError(
            f"{option('ref_key')} {file.name} is no public key of OpenSSH: lines such as ssh-ed25519 AAAA..."
        )
    return found


def check_signed(bundle: Path, content_sha256: str, keys: Sequence[str]) -> str:
    """The fingerprint of the one of ``keys`` that signed this content.

    ``content_sha256`` has to be the hash of what is there, not one that is stated.

    Raises ``ReferenceError`` for a bundle without a signature, with one by another key or of another content, and
    ``DeviceError`` where signatures cannot be checked.
    """
    file = signature_of(bundle)
    try:
        signature = read_regular(file, MOST_KEY_BYTES)
    except FileNotFoundError as error:
        raise ReferenceError(f"{bundle.name} is not signed: there is no {file.name} beside it") from error
    except (OSError, ValueError) as error:
        raise ReferenceError(f"{file.name} cannot be read ({told(error)})") from error
    signer = openssh.signer_among(message(content_sha256), signature, keys)
    if signer is not None:
        return signer
    other = openssh.signer_of(message(content_sha256), signature)
    if other is not None:
        raise ReferenceError(f"{bundle.name} is signed by another key than {option('ref_key')}: by {other}")
    raise ReferenceError(
        f"{file.name} is no signature of {bundle.name} as it is: it is of another content, or was altered"
    )


@dataclass(frozen=True)
class Signed:
    """A signature that was written."""

    signature: Path
    """The file."""
    content_sha256: str
    signed_by: str
    """Fingerprint of the key."""


def sign_content(bundle: Path, content_sha256: str, key: Path, *, force: bool = False) -> Signed:
    """Writes the signature of a bundle of that content hash, beside it.

    Raises ``UsageError`` for a key that cannot be used, ``OutputError`` for a signature that is there already,
    unless ``force``, or cannot be written, ``DeviceError`` where there is no ``ssh-keygen``.
    """
    file = signature_of(bundle)
    check_free(file, force)
    try:
        signature = openssh.sign(message(content_sha256), key)
    except ValueError as error:
        raise UsageError(f"{option('key')} {key.name} cannot sign ({error})") from error
    signer = openssh.signer_of(message(content_sha256), signature)
    if signer is None:
        raise UsageError(f"{option('key')} {key.name} gives no signature that can be checked")
    with atomic_path(file, force) as temp:
        temp.write_bytes(signature)
    return Signed(file, content_sha256, signer)
