"""The content security policy of a page that loads nothing, its own script and style allowed by their hashes."""

from __future__ import annotations

import base64
import hashlib


def policy(script: str, style: str) -> str:
    """Nothing from anywhere, but this script (empty for none), this style and pictures in the page."""
    scripts = f"'{_digest(script)}'" if script else "'none'"
    allowed = (f"script-src {scripts}", f"style-src '{_digest(style)}'", "img-src data:")
    return "; ".join(("default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"))


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
