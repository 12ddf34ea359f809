"""What a caller of a door wants: SSH_ORIGINAL_COMMAND, read once, and never by a shell.

Pure, and without `re` and `dataclasses`: their imports cost more than this whole program. Both doors use it: the
forced command of OpenSSH and octo's own SSH server.
"""

from gitreceive import wire

PATH_LIMIT = 256  # bytes of a git command
LINE_LIMIT = 128 * 1024  # bytes of an octo command line; Linux passes no longer word to a program

GIT_VERBS = ("git-receive-pack", "git-upload-pack", "git-upload-archive")

NO_SHELL = "ERROR: Arbitrary ssh prohibited!\n"
BAD_PATH = " ! Invalid path.\n ! Syntax is: git@host:<app>.git where <app> is your app's name.\n"
AWAY = " ! Unable to contact build server.\n"
BROKE = " ! octo: the connection to octod broke; nothing was changed unless the lines above say so. Push again.\n"
BROKE_COMMAND = " ! octo: the connection to octod broke; look whether the command was done before you repeat it.\n"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME = _LOWER | frozenset("0123456789-_")
_VERB = _LOWER | {"-"}
_PROTOCOL = _LOWER | frozenset("0123456789=.:-")
_SEPARATORS = " \t"
_META = frozenset(";|&<>`\n")


class Git:
    """One of GIT_VERBS on the repository of `app`."""

    __slots__ = ("app", "verb")

    def __init__(self, verb: str, app: str) -> None:
        self.verb = verb
        self.app = app


class Command:
    """An octo command line as words, without a leading `octo`; no words at all means help."""

    __slots__ = ("words",)

    def __init__(self, words: "list[str]") -> None:
        self.words = words


class Refused:
    """Nothing a door does; `text` is for the caller's stderr, lines ended. The exit code is 1."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Unreadable(Exception):
    """The command line has no plain reading; the message says why."""


def parse(original: str) -> "Git | Command | Refused":
    """Read what the caller asks, as the SSH client sent it (undecodable bytes as surrogates)."""
    start = original.split(None, 1)
    if not start:
        return Refused(NO_SHELL)
    if start[0].lower() == "git" or start[0].lower().startswith("git-"):
        return _git(original)
    if len(original.encode("utf-8", "surrogateescape")) > LINE_LIMIT:
        return _unreadable("it is longer than 128 KB")
    try:
        words = _split(original)
    except _Unreadable as error:
        return _unreadable(str(error))
    if words[0] == "octo":
        words = words[1:]
    if words and ("/" in words[0] or words[0][:1] in ("~", ".")):
        return Refused(BAD_PATH)
    if words and not _is_command(words[0]):
        return _unreadable("its first word is no octo command")
    return Command(words)


def git_protocol(value: str) -> str:
    """GIT_PROTOCOL when it is one that git sends, else "": ^version=[012](:[a-z0-9=.:-]*)?$"""
    head, rest = value[:9], value[9:]
    if head not in ("version=0", "version=1", "version=2") or len(value) > PATH_LIMIT:
        return ""
    return value if not rest or (rest[0] == ":" and _PROTOCOL.issuperset(rest)) else ""


def request(asked: "Git | Command", *, user: str, fingerprint: str, address: str, protocol: str) -> bytes:
    """The message that hands this caller's streams to octod."""
    fields = {"user": user, "fingerprint": fingerprint, "from": address}
    if isinstance(asked, Git):
        return wire.pack("git", {**fields, "verb": asked.verb, "app": asked.app, "protocol": protocol}, [])
    return wire.pack("octo", {**fields, "term": "", "columns": "", "lines": "", "tty": "0"}, asked.words)


def exit_code(answer: str) -> "int | None":
    """The N of octod's "exit N"; None when octod went without one."""
    kind, _, number = answer.partition(" ")
    return min(int(number), 255) if kind == "exit" and number.isdecimal() else None


def away(asked: "Git | Command") -> str:
    return AWAY if isinstance(asked, Git) else " ! octo: cannot reach octod: it is not running.\n"


def broke(asked: "Git | Command") -> str:
    return BROKE if isinstance(asked, Git) else BROKE_COMMAND


def _git(original: str) -> "Git | Refused":
    """Two words with one space between: a verb and a path, bare or in single quotes."""
    text = "git-" + original[4:] if original.startswith("git ") else original
    verb, _, path = text.partition(" ")
    app = _app(path)
    if verb not in GIT_VERBS or not app or len(original) > PATH_LIMIT:
        return Refused(BAD_PATH)
    return Git(verb, app)


def _app(path: str) -> str:
    """The app that a path names, "" for none: 'web.git' with or without quotes, slash before or after, `.git`."""
    if len(path) > 1 and path[0] == path[-1] == "'":
        path = path[1:-1]
    path = path[1:] if path[:1] == "/" else path
    path = path[:-1] if path[-1:] == "/" else path
    name = path[:-4] if path[-4:] == ".git" else path
    return name if 1 <= len(name) <= 63 and name[0] in _LOWER and _NAME.issuperset(name) else ""


def _is_command(word: str) -> bool:
    return all(part and part[0] in _LOWER and _VERB.issuperset(part) for part in word.split(":"))


def _unreadable(why: str) -> Refused:
    hint = " ! Say `ssh git@host help` for the commands; quote values twice, for your shell and for octo.\n"
    return Refused(" ! octo: cannot run this: " + why + ".\n" + hint)


def _split(text: str) -> "list[str]":
    """Split as a POSIX shell would, with quotes and backslashes, and expand nothing.

    Raises _Unreadable for what only a shell could carry out, and for what has no end.
    """
    if "\0" in text:
        raise _Unreadable("it contains a NUL byte")
    words: list[str] = []
    word: list[str] | None = None  # None between two words; [""] in one such as ''
    at = 0
    while at < len(text):
        if text[at] in _SEPARATORS:
            if word is not None:
                words.append("".join(word))
            word, at = None, at + 1
        else:
            piece, at = _piece(text, at)
            word = [] if word is None else word
            word.append(piece)
    if word is not None:
        words.append("".join(word))
    return words


def _piece(text: str, at: int) -> "tuple[str, int]":
    """One quoted part, one escaped character, or the plain characters up to the next special one; and where it ends."""
    char = text[at]
    if char == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise _Unreadable("a quote is not closed")
        return text[at + 1 : end], end + 1
    if char == '"':
        return _double(text, at + 1)
    if char == "\\":
        if at + 1 == len(text) or text[at + 1] == "\n":
            raise _Unreadable("a backslash stands at the end of a line")
        return text[at + 1], at + 2
    if char in _META or text.startswith("$(", at):
        raise _Unreadable("it has " + ("a line break" if char == "\n" else f"an unquoted {char}"))
    end = at + 1
    while end < len(text) and text[end] not in _SPECIAL:
        end += 1
    return char + text[at + 1 : end], end


_SPECIAL = _META | frozenset(" \t'\"\\$")


def _double(text: str, at: int) -> "tuple[str, int]":
    """The rest of a part in double quotes, where a backslash escapes only $ ` " \\ and the line break."""
    parts = []
    while True:
        quote = text.find('"', at)
        if quote < 0:
            raise _Unreadable("a quote is not closed")
        slash = text.find("\\", at, quote)
        if slash < 0:
            parts.append(text[at:quote])
            return "".join(parts), quote + 1
        parts.append(text[at:slash])
        after = text[slash + 1]
        parts.append("" if after == "\n" else after if after in '$`"\\' else "\\" + after)
        at = slash + 2
