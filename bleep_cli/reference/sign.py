"""A bundle signed by who made it."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.bundle.open import open_bundle
from bleep_cli.signing.content import Signed, sign_content


def sign_reference(bundle: Path | str, key: Path | str, *, force: bool = False) -> Signed:
    """Reads and hashes all of a bundle, and has OpenSSH's ``ssh-keygen`` sign that hash: ``BUNDLE.sig`` beside it.

    ``key`` is a private key, or the public one of a key that an agent or a token holds. Raises ``ReferenceError``
    for a damaged bundle, ``UsageError`` for a key that cannot sign, ``OutputError`` for a signature that is there
    already, unless ``force``, ``DeviceError`` without ``ssh-keygen``.
    """
    found = open_bundle(bundle)
    found.check_content()
    return sign_content(Path(bundle), found.content_sha256, Path(key), force=force)
