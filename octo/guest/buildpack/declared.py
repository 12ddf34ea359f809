"""What an app and its buildpack declare: the Procfile, and the YAML that bin/release prints.

The YAML is a small part of the language: maps of maps of plain or quoted text, lists of text. Tags, anchors, aliases
and blocks of text are refused with their line, so that nothing can expand.
"""

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .job import Refused

MAX_BYTES = 64 * 1024
MAX_TYPES = 30
_TYPE = re.compile(r"([a-z][a-z0-9-]{0,30}):\s*(\S.*)")
_PAIR = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#&*!|>%@`{}\[\],?-][^#]*?)\s*:(?:\s+(.*))?""")


def text_of(path: str, name: str) -> str | None:
    """A small text file of the pusher's; None when there is none. Raises Refused for anything else of that name."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # nothing of the pusher's runs meanwhile
            raise Refused(f"cannot read {name}: it is not a regular file")
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if len(content) > MAX_BYTES or "\0" in text:
        raise Refused(f"cannot read {name}: it is not a text file of at most 64 KB")
    return text


def procfile(text: str) -> dict[str, str]:
    """Read `type: command` lines, as octo/procfile.py does. Raises Refused with the line's number."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _TYPE.fullmatch(line.rstrip())
        if not match:
            raise Refused(
                f"cannot read Procfile: line {number} is not `type: command`",
                "Write one process type a line, such as web: python3 app.py",
            )
        if match[1] in found:
            raise Refused(f'cannot read Procfile: line {number} declares "{match[1]}" a second time')
        found[match[1]] = match[2]
    if len(found) > MAX_TYPES:
        raise Refused(f"cannot read Procfile: it declares {len(found)} process types, more than {MAX_TYPES}")
    return found


class Release(NamedTuple):
    processes: Mapping[str, str]
    config: Mapping[str, str]
    addons: Sequence[str]


def release(text: str) -> Release:
    """Read what bin/release printed. Raises ValueError, naming the line, for what is not understood."""
    found = _json(text) if text.lstrip().startswith("{") else _yaml(text)
    maps: dict[str, dict[str, str]] = {}
    for name in ("default_process_types", "config_vars"):
        given = found.get(name) or {}
        if not isinstance(given, dict):
            raise ValueError(f"{name} is not a map")
        if any(isinstance(v, dict | list) for v in given.values()):
            raise ValueError(f"{name} has more in it than text")
        maps[name] = {str(k): str(v) for k, v in given.items()}
    for name, command in maps["default_process_types"].items():
        if not _TYPE.fullmatch(f"{name}: {command}"):
            raise ValueError(f"{name[:40]!r} is no process type, or has no command")
    addons = found.get("addons") or []
    names = list(addons) if isinstance(addons, list | dict) else [str(addons)]
    return Release(maps["default_process_types"], maps["config_vars"], [str(n) for n in names])


def _json(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("line 1: it is neither plain YAML nor JSON") from None
    assert isinstance(found, dict)
    return found


def _yaml(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    name, indent = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if len(line) > 8192:
            raise ValueError(f"line {number}: it is longer than 8192 characters")
        if not word or word.startswith("#") or word in ("---", "...", "--- {}", "{}"):
            continue
        try:
            if line[0] not in " \t-":
                name, value = _pair(word)
                found[name], indent = _empty(value), 0
                continue
            indent = indent or len(line) - len(line.lstrip()) + 1
            if not name or len(line) - len(line.lstrip()) + 1 != indent:
                raise ValueError("it is indented unlike the line before")
            _add(found, name, word)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return found


def _empty(value: str) -> object:
    if value.strip() in ("", "{}", "[]", "~", "null"):
        return None
    raise ValueError("a map or a list should follow")


def _add(found: dict[str, object], name: str, word: str) -> None:
    """One more line of the map or list called `name`."""
    if found[name] is None:
        found[name] = [] if word.startswith("- ") else {}
    there = found[name]
    if isinstance(there, list) and word.startswith("- "):
        there.append(_scalar(word[2:].strip()))
    elif isinstance(there, dict) and not word.startswith("- "):
        key, value = _pair(word)
        there[key] = _scalar(value)
    else:
        raise ValueError("a list and a map are mixed")


def _pair(word: str) -> tuple[str, str]:
    match = _PAIR.fullmatch(word)
    if not match:
        raise ValueError("it is not `key: value`")
    return _scalar(match[1]), (match[2] or "").strip()


def _scalar(word: str) -> str:
    """The text of one value; a comment behind it is dropped."""
    if word.startswith(('"', "'")):
        match = re.fullmatch(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')(?:\s+#.*)?""", word)
        if not match:
            raise ValueError("a quote is not closed, or text follows it")
        return str(json.loads(match[1])) if word[0] == '"' else match[1][1:-1].replace("''", "'")
    if word[:1] and word[0] in "&*!|>%@`{[":
        raise ValueError("tags, anchors, aliases, blocks of text and inline maps are not understood")
    plain = re.split(r"\s+#", word, maxsplit=1)[0].strip()
    return "" if plain in ("~", "null") else plain
