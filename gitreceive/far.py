"""`octo` for an octo elsewhere: OCTO_HOST, or Heroku's HEROKU_HOST, names it, and ssh takes the words there.

[USER@]HOST[:PORT]; of a URL, as Heroku's client has it, the host counts, without its `api.`. OCTO_SSH is the ssh to
use, with options. There is no HTTP door: the key that pushes is the key that commands. Standard library only.
"""

import os
import re
import shlex

from gitreceive.octo import _say

_PLACE = re.compile(
    r"(?:[a-z]+://)?(?:(?P<user>[A-Za-z0-9._-]+)@)?(?:api\.)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)(?::(?P<port>[0-9]{1,5}))?/?"
)


def main(place: str, arguments: "list[str]") -> int:
    """Become ssh. Returns only when that cannot be."""
    argv = command_line(place, os.environ.get("OCTO_SSH", "ssh"), arguments)
    if not argv:
        return _say(' ! octo: cannot use OCTO_HOST="' + ascii(place)[1:-1] + '": say [USER@]HOST[:PORT]\n', 2)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        return _say(f" ! octo: cannot run {argv[0]}: {error.strerror}\n", 1)


def command_line(place: str, ssh: str, arguments: "list[str]") -> "list[str]":
    """The arguments of ssh; empty when the place is none."""
    found = _PLACE.fullmatch(place)
    if not found:
        return []
    port = ["-p", found["port"]] if found["port"] else []
    return [*shlex.split(ssh), *port, (found["user"] or "git") + "@" + found["host"], "--", shlex.join(arguments)]
