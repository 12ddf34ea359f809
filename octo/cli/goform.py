"""The forms of octohost's rewrite in Go, and two words for one: `config set -c NAME --key K --value V`, `move sites`.

They are turned into octo's own words before anything else looks at them. An app that is called `set` needs -a.
"""

from collections.abc import Sequence

from octo.errors import Usage

CONFIG = ("set", "get", "del", "rm", "show", "export")
MOVE = ("sites", "config", "redis")
OPTIONS = {
    "-c": "container",
    "--container": "container",
    "-k": "key",
    "--key": "key",
    "-v": "value",
    "--value": "value",
}


def rewrite(words: Sequence[str]) -> list[str]:
    """Raises Usage, in the words of the original, for what is missing."""
    first, second = [*words, "", ""][:2]
    if first == "move" and second in MOVE:
        return [f"move:{second}", *words[2:]]
    if first == "config" and second in CONFIG:
        return _config(second, words[2:])
    if first in ("start", "domains") and second in ("-c", "--container"):
        name = _needed(_options(words[1:])[0], "container")
        return [first, name]
    return list(words)


def _config(verb: str, words: Sequence[str]) -> list[str]:
    options, rest = _options(words)
    if verb == "export":
        return ["config:export", *([options["container"]] if "container" in options else []), *rest]
    container = _needed(options, "container")
    if " " in container:
        raise Usage("A container cannot contain a space.")
    if verb == "show":
        return ["config", container, *rest]
    place = f"{container}/{_needed(options, 'key').upper()}"
    if verb == "set":
        return ["config:set", place, _needed(options, "value"), *rest]
    return ["config:get" if verb == "get" else "config:rm", place, *rest]


def _needed(options: "dict[str, str]", name: str) -> str:
    if not options.get(name) and not (name == "value" and name in options):
        flag = "-c" if name == "container" else f"--{name}"
        raise Usage(f"A {name} is required: {flag}", hint="Say: octo config set -c NAME --key KEY --value VALUE")
    return options[name]


def _options(words: Sequence[str]) -> "tuple[dict[str, str], list[str]]":
    """Those of OPTIONS with their values, which may be anything, and the words that are left."""
    found: dict[str, str] = {}
    rest: list[str] = []
    at = 0
    while at < len(words):
        flag, equals, value = words[at].partition("=")
        if flag in OPTIONS and equals:
            found[OPTIONS[flag]] = value
        elif words[at] in OPTIONS:
            found[OPTIONS[words[at]]] = words[at + 1] if at + 1 < len(words) else ""
            at += 1
        else:
            rest.append(words[at])
        at += 1
    return found, rest
