"""The errors a user can cause or meet, each with the exit code of its class.

::

    BleepError             1   a bug, or a class of its own below
    ├── UsageError         2   options that do not go together, a file that is not there
    ├── SlideError         3   a slide that cannot be read or holds nothing to predict on
    ├── ReferenceError     4   a bundle, cohort or section that is broken or does not fit
    ├── DeviceError        5   the asked-for device or its libraries are missing
    └── OutputError        6   a result that cannot be written, or would overwrite one

A message says what was wrong, where (file name, never the whole path), and which option mends it.
Only ``cli.py`` prints them and exits.
"""

from typing import ClassVar


class BleepError(Exception):
    """Base of every error that is reported to the user as one line."""

    exit_code: ClassVar[int] = 1


class UsageError(BleepError):
    """Options or arguments that cannot be carried out."""

    exit_code = 2


class SlideError(BleepError):
    """A slide that cannot be opened, decoded, scaled or that holds no tissue."""

    exit_code = 3


class ReferenceError(BleepError):
    """A reference bundle, cohort file or section that is broken or does not fit."""

    exit_code = 4


class DeviceError(BleepError):
    """The asked-for execution device is not available."""

    exit_code = 5


class OutputError(BleepError):
    """An output that cannot be written or must not be overwritten."""

    exit_code = 6
