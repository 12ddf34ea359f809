"""git on the server itself, as root and without a key: what git calls in place of ssh.

    git -c core.sshCommand="octo git" push octo:shop.git main

git calls `octo git [OPTIONS] HOST "git-receive-pack 'shop.git'"`; HOST is whatever the URL says. octod knows its
caller by the socket. Standard library only.
"""

import _socket
import select

from gitreceive import command, wire
from gitreceive.octo import _env, _say, find_socket

USAGE = """\
Usage: git -c core.sshCommand="octo git" push octo:APP.git main
       git config core.sshCommand "octo git"    (in a folder whose remotes are of this server)
"""
LAST = 5  # seconds for the end of a git whose caller has heard enough
WITH_VALUE = ("-o", "-p", "-P", "-l", "-i", "-F")  # options of ssh that git, or a person, may give


def main(arguments: "list[str]") -> int:
    """Serve one git command; the exit code is git's."""
    if "-G" in arguments[:-1]:
        return 0  # git asks whether this is OpenSSH's kind: then it hands the protocol on
    words = behind_options(arguments)
    if len(words) != 2:
        return _say(USAGE, 2)
    asked = command.parse(words[1])
    if not isinstance(asked, command.Git):
        return _say(asked.text if isinstance(asked, command.Refused) else USAGE, 1)
    protocol = command.git_protocol(_env("GIT_PROTOCOL"))
    message = command.request(asked, user="", fingerprint="", address="", protocol=protocol)
    try:
        answer = call(find_socket(), message)
    except PermissionError:
        return _say(" ! octo: you may not use octod's socket: run git as root, or push by ssh with a key.\n", 1)
    except OSError:
        return _say(command.away(asked), 1)
    except wire.Gone:
        return 1
    code = command.exit_code(answer)
    return _say(command.broke(asked), 1) if code is None else code


def call(path: str, message: bytes) -> str:
    """octod's answer. git closes its end when it has read all, and when it dies: so it is hung up a little later."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
        wire.send(sock, message, [0, 1, 2])
        try:
            return wire.answer(sock, 1)
        except wire.Gone:
            waiting = select.poll()
            waiting.register(sock.fileno(), select.POLLIN)
            if not waiting.poll(LAST * 1000):
                raise
            return wire.answer(sock)
    finally:
        sock.close()


def behind_options(arguments: "list[str]") -> "list[str]":
    """What is left of an ssh command line: the host and the command."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in WITH_VALUE else 1
    return arguments[at:]
