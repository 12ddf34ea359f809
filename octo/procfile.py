"""Procfile text to process types."""

import re

from octo.errors import BuildFailed

_LINE = re.compile(r"([a-z][a-z0-9-]{0,30}):\s*(\S.*)")
MAX_BYTES = 64 * 1024
MAX_TYPES = 30


def parse(text: str) -> dict[str, str]:
    """Read `type: command` lines; blank lines and # comments are skipped.

    Raises BuildFailed with the line's number for anything else, and for a type given twice.
    """
    if len(text.encode()) > MAX_BYTES or "\0" in text:
        raise BuildFailed("cannot read Procfile: it is not a text file of at most 64 KB")
    found: dict[str, str] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if not match:
            raise BuildFailed(
                f"cannot read Procfile: line {number} is not `type: command`",
                hint="Write one process type a line, such as web: python3 app.py",
            )
        if match[1] in found:
            raise BuildFailed(f'cannot read Procfile: line {number} declares "{match[1]}" a second time')
        found[match[1]] = match[2]
    if len(found) > MAX_TYPES:
        raise BuildFailed(f"cannot read Procfile: it declares {len(found)} process types, more than {MAX_TYPES}")
    return found
