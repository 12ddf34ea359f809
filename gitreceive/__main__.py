"""The forced command of OpenSSH: read what the caller wants, hand the streams to octod, exit as octod says.

    command="<python3> -I -S <checkout>/gitreceive/__main__.py run <name> <fingerprint>",restrict <key>

The directory `<checkout>/gitreceive` works in its place, and costs 2.5 ms more: Python then imports runpy.
`OCTO_DOOR` names octod's socket. sshd ends nobody without a terminal, so a caller who hangs up is seen on stdout:
nobody reads it any more, this program ends, and octod sees its connection close.
Standard library only, and of it only what is written in C: whole processes without octod's part take 5.8 ms, as
`python3 -I -S -c pass` does, whose full exit costs what this program saves.
"""

import posix
import sys

if not __package__:  # run as a file or a directory: the checkout is not on the path
    sys.path.insert(0, __file__[: __file__.rindex("/")] + "/.." if "/" in __file__ else "..")

from gitreceive import command, wire

DOOR = "/run/octo/door.sock"


def main(arguments: "list[str]") -> int:
    if len(arguments) != 3 or arguments[0] != "run":
        return _say("Usage: gitreceive run NAME FINGERPRINT\n", 2)
    asked = command.parse(_env("SSH_ORIGINAL_COMMAND"))
    if isinstance(asked, command.Refused):
        return _say(asked.text, 1)
    message = command.request(
        asked,
        user=arguments[1],
        fingerprint=arguments[2],
        address=_env("SSH_CONNECTION").partition(" ")[0],
        protocol=command.git_protocol(_env("GIT_PROTOCOL")),
    )
    try:
        answer = wire.call(_env("OCTO_DOOR") or DOOR, message, [0, 1, 2], reader=1)
    except OSError:
        return _say(command.away(asked), 1)
    except wire.Gone:
        return 1
    code = command.exit_code(answer)
    return _say(command.broke(asked), 1) if code is None else code


def _env(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def _say(text: str, code: int) -> int:
    try:
        posix.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # the caller has gone
    return code


if __name__ == "__main__":
    posix._exit(main(sys.argv[1:]))  # nothing is buffered; a full exit costs 1 ms
