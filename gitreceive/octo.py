"""The thin `octo` on the PATH: hand arguments, terminal and streams to octod, where the commands run warm.

OCTO_HOST names an octo elsewhere (far.py). It prints nothing itself but that octod is not there. Found, in this order:
$OCTO_SOCKET, $OCTO_HOME/run/octo.sock, .octo/run/octo.sock here and in every folder above, that of this checkout,
EMBEDDED, SYSTEM. A socket met by looking around counts only when it belongs to root or to the caller: the message
carries the caller's terminal.
What must work without octod (help, version, doctor, store:migrate) is run in place then, by the checkout's own Python.
Whole process without octod's part 6.3 ms, `python3 -I -S -c pass` 5.8.
"""

import posix

from gitreceive import command, wire

IN_PLACE = ("help", "--help", "-h", "version", "--version", "completion", "doctor", "store:migrate")
# Commands that take a file of the caller's, which octod could not read, and which of their words it is.
FILES = {"keys:add": 2, "config:import": 1, "config:options": 2, "config:check": 3}
VALUED = ("-a", "--app", "--format")  # options of these whose value is a word of its own
SYSTEM = "/run/octo/octo.sock"
EMBEDDED = "/var/lib/octo-embedded"  # where ./setup demo keeps its state when the checkout is closed to others
CHECKOUT = __file__.rpartition("/gitreceive/")[0]
CONFIG_LIMIT = 1024 * 1024  # bytes read of .git/config
SOCKET_KIND, FILE_KIND, KIND = 0o140000, 0o100000, 0o170000


def main(arguments: "list[str]") -> int:
    if arguments[:1] == ["git"]:
        from gitreceive import local

        return local.main(arguments[1:])
    place = _env("OCTO_HOST") or _env("HEROKU_HOST")
    if place:
        from gitreceive import far

        return far.main(place, arguments)
    path = find_socket()
    saved = _terminal_modes()
    arguments, stdin = _opened(arguments)
    try:
        answer = wire.call(path, wire.pack("octo", facts(), arguments), [stdin, 1, 2], reader=1)
    except OSError as error:
        return _without(arguments, _why(error, path))
    except wire.Gone:
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        _put_back(saved)
    code = command.exit_code(answer)
    return _say(command.BROKE_COMMAND, 1) if code is None else code


def _opened(arguments: "list[str]") -> "tuple[list[str], int]":
    """A file among the words becomes their standard input; one that cannot be read is left for the command to tell."""
    at = _place(arguments, FILES.get(arguments[0], 0)) if arguments else 0
    if not at or arguments[at] in ("", "-"):
        return arguments, 0
    try:
        number = posix.open(arguments[at], posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except (OSError, ValueError):
        return arguments, 0
    if posix.fstat(number).st_mode & KIND != FILE_KIND:
        posix.close(number)
        return arguments, 0
    return [*arguments[:at], "-", *arguments[at + 1 :]], number


def _place(arguments: "list[str]", count: int) -> int:
    """Where the count-th word is that is no option and no option's value; 0 for nowhere."""
    for at in range(1, len(arguments)):
        option = arguments[at][:1] == "-" and arguments[at] != "-"
        if not option and arguments[at - 1] not in VALUED:
            count -= 1
            if count == 0:
                return at
    return 0


def find_socket() -> str:
    """octod's socket; where none is, the last place looked at."""
    if _env("OCTO_SOCKET"):
        return _env("OCTO_SOCKET")
    homes = [_env("OCTO_HOME")] if _env("OCTO_HOME") else []
    homes += [*(folder + "/.octo" for folder in (*folders(), CHECKOUT)), EMBEDDED]
    places = [home + "/run/octo.sock" for home in homes]
    return next((path for path in places if _trusted_socket(path)), SYSTEM)


def folders() -> "list[str]":
    """The current folder and those above it, nearest first; the root is ""."""
    try:
        here = posix.getcwd().rstrip("/")
    except OSError:  # it was removed
        return []
    found = [here]
    while here:
        here = here.rpartition("/")[0]
        found.append(here)
    return found


def facts() -> "dict[str, str]":
    """What octod cannot see in the streams themselves; the remotes name the app where no --app does."""
    tty = posix.isatty(0) and posix.isatty(1)
    columns, lines = posix.get_terminal_size(1) if tty else ("", "")
    return {
        "term": _env("TERM"),
        "columns": str(columns),
        "lines": str(lines),
        "tty": "1" if tty else "0",
        "remotes": "\n".join(remotes()),
    }


def remotes() -> "list[str]":
    """The git remotes of the current folder, as name=url. A .git that is a file (a worktree) is passed over."""
    for folder in folders():
        text = _read(folder + "/.git/config")
        if text:
            return parse_remotes(text)
    return []


def parse_remotes(text: str) -> "list[str]":
    """Source: git-config(1), "Syntax"; includes are not followed."""
    found = []
    name = ""
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("["):
            kind, _, rest = line[1:].partition(" ")
            name = rest.strip().rpartition("]")[0].strip('"') if kind.lower() == "remote" else ""
        key, equals, value = line.partition("=")
        if name and equals and key.strip().lower() == "url":
            found.append(name + "=" + value.strip().strip('"'))
    return found


def _without(arguments: "list[str]", why: str) -> int:
    """octod is not there: run in place what can be, say so for the rest."""
    if arguments and arguments[0] not in IN_PLACE:
        return _say(f"octo: cannot reach octod: {why}\nStart it with: sudo ./setup demo\n", 1)
    python = _env("OCTO_PYTHON") or CHECKOUT + "/.venv/bin/python"
    posix.environ[b"PYTHONPATH"] = CHECKOUT.encode("utf-8", "surrogateescape")
    try:
        # -P: no module comes from the current folder, which may be anybody's.
        posix.execve(python, [python, "-P", "-m", "octo.cli", *arguments], posix.environ)
    except OSError:
        pass
    if arguments and arguments[0] in ("version", "--version"):
        return _say("octo " + _version() + "\n", 0, to=1)
    return _say("octo: cannot run: octo's own Python is not installed\nInstall it with: sudo ./setup demo\n", 1)


def _version() -> str:
    return _read(CHECKOUT + "/octo/__init__.py").partition('__version__ = "')[2].partition('"')[0]


def _why(error: OSError, path: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "no socket at " + path
    if isinstance(error, PermissionError):
        return "you may not use the socket " + path
    return "nobody answers at " + path


def _trusted_socket(path: str) -> bool:
    try:
        found = posix.stat(path)
    except OSError:
        return False
    return found.st_mode & KIND == SOCKET_KIND and found.st_uid in (0, posix.getuid())


def _terminal_modes() -> "list[object] | None":
    """octod sets raw mode on our terminal by itself; these are for when it cannot set it back."""
    if not posix.isatty(0):
        return None
    import _signal  # type: ignore[import-not-found]  # `signal` imports enum, for 5 ms
    import termios

    for number in (_signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _leave)
    try:
        return list(termios.tcgetattr(0))
    except termios.error:
        return None


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _put_back(saved: "list[object] | None") -> None:
    if saved is None:
        return
    import termios

    try:
        # Only when changed: setting modes from the background would stop us.
        if list(termios.tcgetattr(0)) != saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)  # type: ignore[arg-type]
    except termios.error:
        pass  # the terminal has gone


def _read(path: str) -> str:
    """The start of a file, "" when it cannot be read."""
    try:
        number = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return posix.read(number, CONFIG_LIMIT).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        posix.close(number)


def _env(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def _say(text: str, code: int, to: int = 2) -> int:
    try:
        posix.write(to, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
    return code
