"""Nothing leaves the machine: what dependencies would send, or leave behind, is switched off before they load.

``import bleep_cli`` calls :func:`switch_off`, so whatever of this project, or after it, loads a dependency finds
its telemetry off. Both command lines call :func:`leave_nothing` as well.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from secrets import token_hex

OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime >= 1.29 reads it when it is loaded; its own switch comes too late
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of timm, where a backbone is asked for by its name on a hub
    "DO_NOT_TRACK": "1",
}
"""The environment that dependencies find, whatever it said before."""

_temporary: list[Path] = []  # folders of this process


class TelemetryWarning(UserWarning):
    """A dependency was loaded before it could be told to send nothing."""


def switch_off() -> None:
    """Puts :data:`OFF` into the environment; warns of an ONNX Runtime that was loaded without it."""
    if "onnxruntime" in sys.modules and not telemetry_is_off():
        warnings.warn(
            "onnxruntime was imported before bleep_cli: from version 1.29 on it connects to the internet and "
            "tells of this machine. Import bleep_cli first, or set ORT_DISABLE_TELEMETRY=1 before Python starts",
            TelemetryWarning,
            stacklevel=3,
        )
    os.environ.update(OFF)


def telemetry_is_off() -> bool:
    """Whether the environment tells ONNX Runtime to send nothing."""
    return os.environ.get("ORT_DISABLE_TELEMETRY") == OFF["ORT_DISABLE_TELEMETRY"]


def leave_nothing() -> None:
    """Sends what dependencies would cache in the home folder to a temporary one that goes with the process.

    Only for a process of ours, and not where the user has such a folder already: it is read then.
    """
    atexit.register(remove_temporary)
    home = Path.home()
    kept = [os.environ.get("XDG_CONFIG_HOME", home / ".config"), os.environ.get("XDG_CACHE_HOME", home / ".cache")]
    if not any((Path(folder) / "matplotlib").is_dir() for folder in kept):
        _elsewhere("MPLCONFIGDIR")
        os.environ.setdefault("FONTCONFIG_FILE", str(Path(__file__).with_name("fonts.conf")))
    _elsewhere("NUMBA_CACHE_DIR")
    _elsewhere("TORCHINDUCTOR_CACHE_DIR")


def _elsewhere(variable: str) -> None:
    """Points a variable that is not set to a folder that the library makes, if it needs one, and we delete."""
    if variable in os.environ:
        return
    folder = Path(tempfile.gettempdir()) / f"bleep-{token_hex(8)}"
    os.environ[variable] = str(folder)
    _temporary.append(folder)


def remove_temporary() -> None:
    """Deletes the temporary folders; at the end of the process, or by one that ends without it."""
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)
