"""/etc/default/octohost, which was a shell file: read, never executed (rows H1 and hole 13). Pure.

Of a shell's language it knows KEY=VALUE with `export`, quotes, backslashes, comments, and $KEY of the file's own keys.
What only a shell could carry out, `$(curl ...)` most of all, stays as the text that it is, and is named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_BEGIN = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_NAME = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_ENDS = " \t\n;&|<>()"  # where a word ends that is in no quotes
_ESCAPED = '$`"\\'  # what a backslash takes the meaning from in double quotes

# Keys of octohost that are settings of octo. CONSUL_SERVER and DOMAIN_SUFFIX are put into octo's form by `settings_of`.
SETTINGS = {
    "DOMAIN_SUFFIX": "domain_suffix",
    "XIP_IO": "domain_suffixes",
    "CONSUL_SERVER": "consul",
    "CONSUL_PREFIX": "consul_prefix",
    "CONSUL_TOKEN": "consul_token",
    "BUILD_ORG_NAME": "build_org",
    "PRIVATE_REGISTRY": "private_registry",
    "LINK_PREFIX": "link_prefix",
    "EMAIL_NOTIFICATION": "email_notification",
    "LOGSPOUT_TARGET": "logspout_target",
    "REMOTE_SYSLOG_PORT": "remote_syslog_port",
    "REMOTE_SYSLOG_DESTINATION": "remote_syslog_destination",
}


@dataclass(frozen=True)
class HostFile:
    values: Mapping[str, str] = field(default_factory=dict, repr=False)  # every key, known to octo or not
    not_run: tuple[str, ...] = ()  # keys whose value has something that only a shell could carry out
    other_lines: tuple[int, ...] = ()  # numbers of the lines that are no KEY=VALUE

    def get(self, key: str) -> str:
        """The value, "" when it has none that can be used."""
        return "" if key in self.not_run else self.values.get(key, "")


def parse(text: str) -> HostFile:
    """Read the file. Never raises: a line that is not understood is one of `other_lines`."""
    values: dict[str, str] = {}
    not_run: set[str] = set()
    others: list[int] = []
    at = 0
    while at < len(text):
        found = _BEGIN.match(text, at)
        if not found:
            end = _line_end(text, at)
            if text[at:end].strip() and not text[at:end].lstrip().startswith("#"):
                others.append(text.count("\n", 0, at) + 1)
            at = end + 1
            continue
        word = _Word(text, found.end(), values, not_run)
        end = _line_end(text, word.at)
        rest = text[word.at : end].strip()
        if rest.lstrip(";").strip() and rest[0] != "#":  # before a command it sets nothing in a shell either
            others.append(text.count("\n", 0, at) + 1)
        else:
            values[found[1]] = word.value
            (not_run.add if word.tainted else not_run.discard)(found[1])
        at = end + 1
    return HostFile(values, tuple(sorted(not_run)), tuple(others))


def settings_of(file: HostFile) -> Mapping[str, str]:
    """The values that octo has a setting for, by the setting's name; empty ones and those that were not run are not."""
    found = {name: file.get(key) for key, name in SETTINGS.items() if file.get(key)}
    server = found.get("consul", "")
    if server and "://" not in server:
        found["consul"] = f"http://{server.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - it listened everywhere
    if found.get("consul_token") == "anonymous":  # octohost's word for none
        del found["consul_token"]
    if found.get("domain_suffixes") == found.get("domain_suffix"):
        found.pop("domain_suffixes", None)
    return found


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


class _Word:
    """One shell word that begins at `at`: its value, where it ends, and whether a shell would have run something."""

    def __init__(self, text: str, at: int, known: Mapping[str, str], not_run: set[str]) -> None:
        self._text, self.at = text, at
        self._known, self._not_run = known, not_run
        self._parts: list[str] = []
        self.tainted = False
        while self.at < len(text) and text[self.at] not in _ENDS:
            self._piece()
        self.value = "".join(self._parts)

    def _piece(self) -> None:
        char = self._text[self.at]
        if char == "'":
            end = self._text.find("'", self.at + 1)
            end = len(self._text) if end < 0 else end
            self._parts.append(self._text[self.at + 1 : end])
            self.at = end + 1
        elif char == '"':
            self.at += 1
            while self.at < len(self._text) and self._text[self.at] != '"':
                self._one(quoted=True)
            self.at += 1
        else:
            self._one(quoted=False)

    def _one(self, *, quoted: bool) -> None:
        """One character, escape, variable or substitution."""
        text, at = self._text, self.at
        name = _NAME.match(text, at)
        if text[at] == "\\" and at + 1 < len(text):
            after = text[at + 1]
            kept = "\\" if quoted and after not in f"{_ESCAPED}\n" else ""
            self._take("" if after == "\n" else kept + after, at + 2)
        elif name and (name[1] or name[2]) in self._known:
            key = name[1] or name[2]
            self.tainted |= key in self._not_run
            self._take(self._known[key], name.end())
        elif name or text[at] == "`" or text[at : at + 2] in ("$(", "${"):
            self.tainted = True
            end = name.end() if name else _substitution_end(text, at)
            self._take(text[at:end], end)
        else:
            self._take(text[at], at + 1)

    def _take(self, part: str, end: int) -> None:
        self._parts.append(part)
        self.at = end


def _substitution_end(text: str, at: int) -> int:
    """Where `...`, $(...) or ${...} ends."""
    if text[at] == "`":
        end = text.find("`", at + 1)
        return len(text) if end < 0 else end + 1
    opening = text[at + 1]
    closing = {"(": ")", "{": "}"}[opening]
    depth = 0
    for end in range(at + 1, len(text)):
        depth += (text[end] == opening) - (text[end] == closing)
        if depth == 0:
            return end + 1
    return len(text)
