"""Config as text: .env files, octohost's export, and the lines that octo writes for both. Pure, and never executed.

.env, as most of its readers have it: KEY=VALUE, `export` before it, comments, '...' as it is, "..." with the escapes of
C and line breaks. A $NAME is text: nothing is put in for it. Messages name lines, never values: they may be secrets.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from octo.errors import Usage
from octo.model import AppName, ConfigKey, app_name, config_key, config_value

SET = "config:set"
_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#'\"]+)[ \t]*=[ \t]*")
_EXPORT = re.compile(r"[ \t]*octo[ \t]+config:set[ \t]", re.MULTILINE)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$", "`": "`", "\n": ""}
_AFTER = re.compile(r"[ \t\r]*(?:#[^\n]*)?(?:\n|$)")

Imported = Mapping[AppName, Mapping[ConfigKey, str]]


def is_export(text: str) -> bool:
    """Whether the first line that is no comment is one of octohost's export."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return _EXPORT.match(next(lines, "")) is not None


def dotenv(text: str) -> dict[ConfigKey, str]:
    """The variables of a .env file; of two of one name the last. Raises Usage, naming the line."""
    found: dict[ConfigKey, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at = 0
    while at < len(text):
        end = _line_end(text, at)
        if not text[at:end].strip() or text[at:end].lstrip().startswith("#"):
            at = end + 1
            continue
        key = _KEY.match(text, at, end)
        if not key:
            raise _unreadable(text, at, "it is no KEY=VALUE")
        value, after = _value(text, key.end(), end)
        with _at_line(text, at):
            found[config_key(key[1])] = config_value(value)
        at = after
    return found


def octohost_export(text: str) -> dict[AppName, dict[ConfigKey, str]]:
    """The config of each app, of lines `octo config:set APP/KEY 'VALUE'`. Raises Usage, naming the line."""
    found: dict[AppName, dict[ConfigKey, str]] = {}
    for at, words in _commands(text):
        if len(words) != 4 or words[0] != "octo" or words[1] != SET or "/" not in words[2]:
            raise _unreadable(text, at, "it is no: octo config:set APP/KEY 'VALUE'")
        app, _, key = words[2].partition("/")
        with _at_line(text, at):
            found.setdefault(app_name(app), {})[config_key(key)] = config_value(words[3])
    return found


def export_line(app: str, key: str, value: str) -> str:
    """One line of octohost's export; a shell gets the value from it as it is."""
    return f"octo {SET} {app}/{key} {quoted(value)}"


def quoted(value: str) -> str:
    """For a shell, and always in quotes: a reader sees where the value ends."""
    done = shlex.quote(value)
    return done if done.startswith("'") else f"'{done}'"


def option(key: str, value: str) -> str:
    """-e KEY="VALUE" for a shell's command line, on one line whatever the value."""
    if any(not c.isprintable() for c in value):  # $'...', as bash, zsh and POSIX of 2024 have it
        escaped = "".join(_SHOWN.get(c, c if c.isprintable() else _octal(c)) for c in value)
        return f"-e {key}=$'{escaped}'"
    return '-e {}="{}"'.format(key, re.sub(r'([\\"$`])', r"\\\1", value))


_SHOWN = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8"))


def _value(text: str, at: int, end: int) -> tuple[str, int]:
    """The value that begins at `at` on the line that ends at `end`, and where the next line begins."""
    if at < end and text[at] in "'\"":
        value, at = _single(text, at) if text[at] == "'" else _double(text, at)
        after = _AFTER.match(text, at)
        if not after:
            raise _unreadable(text, at, "something stands after the closing quote")
        return value, after.end()
    plain = re.split(r"(?:^|[ \t])#", text[at:end], maxsplit=1)[0]
    return plain.strip(), end + 1


def _single(text: str, at: int) -> tuple[str, int]:
    end = text.find("'", at + 1)
    if end < 0:
        raise _unreadable(text, at, "a quote is not closed")
    return text[at + 1 : end], end + 1


def _double(text: str, at: int) -> tuple[str, int]:
    """An escape that is none keeps its backslash."""
    found = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(text, at)
    if not found:
        raise _unreadable(text, at, "a quote is not closed")
    value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), found[1], flags=re.DOTALL)
    return value, found.end()


_WORD = re.compile(r"""(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\;|&<>()$`])+""", re.DOTALL)


def _commands(text: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Where each command begins, and its words as a shell reads them; it expands nothing and runs nothing."""
    at, begin, words = 0, 0, list[str]()
    while at < len(text):
        char = text[at]
        if char == "#" or char.isspace():
            at = _line_end(text, at) if char == "#" else at + 1
            if char == "\n" and words:
                yield begin, words
                words = []
            continue
        word = _WORD.match(text, at)
        if not word:
            raise _unreadable(text, at, "a quote is not closed" if char in "'\"" else f"it has an unquoted {char}")
        begin = begin if words else at
        words.append(shlex.split(word[0])[0] if word[0] else "")
        at = word.end()
    if words:
        yield begin, words


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


class _at_line:  # noqa: N801 - used as a word of the `with` statement
    """Puts the line's number before what the types say of it."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self._at = text, at

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Usage):
            raise _unreadable(self._text, self._at, error.message) from None


def _unreadable(text: str, at: int, why: str) -> Usage:
    number = text.count("\n", 0, at) + 1
    return Usage(f"cannot read line {number}: {why}", hint="Mend that line; nothing was changed.")
