"""What the words after a command mean: is the first one the app? Pure.

-a APP always decides. Without it each command has one rule, which looks at the words alone, so that the same line means
the same in every folder.
"""

import re
from collections.abc import Callable, Sequence

from octo.errors import Usage

Words = Sequence[str]
Rule = Callable[[Words], bool]

_APP = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RELEASE = re.compile(r"v?[0-9]+")
_SLASHED = re.compile(r"([a-z][a-z0-9_-]{0,62})/([^/=]+)")


def always(words: Words) -> bool:
    """The first word is the app."""
    return True


def without_equals(words: Words) -> bool:
    """K=V is never an app."""
    return "=" not in words[0]


def without_dot(words: Words) -> bool:
    """A host name has a dot, an app's name has none."""
    return "." not in words[0]


def before_others(words: Words) -> bool:
    """The first of several words is the app, when an app can have that name."""
    return len(words) > 1 and _APP.fullmatch(words[0]) is not None


def no_release(words: Words) -> bool:
    """v3 and 3 are releases; an app of such a name needs -a."""
    return _RELEASE.fullmatch(words[0]) is None


def before_dashes(words: Words) -> bool:
    return len(words) > 1 and words[1] == "--"


def split(app: str, words: Words | None, rule: Rule) -> tuple[str, list[str]]:
    """The app ("" when the words name none) and the words that are left."""
    left = list(words or [])
    if app or not left or not rule(left):
        return app, left
    return left[0], left[1:]


def alone(app: str, words: Words | None) -> str:
    """The app, for a command that takes nothing else."""
    named, left = split(app, words, always)
    at_most(0, left)
    return named


def at_most(count: int, words: Words) -> None:
    if len(words) > count:
        raise Usage(f'cannot use the word "{words[count]}": it is one too many', hint="Say --help after the command.")


def slashed(words: Words) -> tuple[str, str] | None:
    """octohost's APP/KEY as (app, key)."""
    found = _SLASHED.fullmatch(words[0]) if words else None
    return (found[1], found[2]) if found else None


def keys(app: str, words: Words | None) -> tuple[str, list[str]]:
    """[APP] KEY..., or octohost's APP/KEY..."""
    left = list(words or [])
    pairs = [slashed([word]) for word in left]
    if not app and left and all(pairs):
        named = {pair[0] for pair in pairs if pair}
        if len(named) > 1:
            raise Usage("cannot change the config of several apps at once", hint="Give one command for each app.")
        return named.pop(), [pair[1] for pair in pairs if pair]
    return split(app, left, before_others)


def assignments(app: str, words: Words | None) -> tuple[str, dict[str, str]]:
    """[APP] K=V..., or octohost's APP/KEY VALUE."""
    left = list(words or [])
    pair = None if app else slashed(left)
    if pair:
        if len(left) != 2:
            raise Usage(f'cannot set "{left[0]}": APP/KEY takes exactly one value', hint="Put quotes around it.")
        return pair[0], {pair[1]: left[1]}
    app, left = split(app, left, without_equals)
    wrong = [word for word in left if "=" not in word]
    if wrong or not left:
        why = f'"{wrong[0][:40]}" has no =' if wrong else "there is no KEY=VALUE"
        raise Usage(f"cannot set the config: {why}", hint="Say: octo config:set -a APP KEY=VALUE")
    return app, dict(word.split("=", 1) for word in left)


def scales(words: Words) -> list[dict[str, object]]:
    """web=2 worker=1 as the API's updates."""
    updates: list[dict[str, object]] = []
    for word in words:
        kind, equals, number = word.partition("=")
        if not equals or not (number.isascii() and number.isdigit()):
            raise Usage(f'cannot scale to "{word}"', hint="Say TYPE=NUMBER, as in web=2.")
        updates.append({"type": kind, "quantity": int(number[:9])})
    return updates


def release(word: str) -> str:
    """ "v3" or "3" as the number. Raises Usage."""
    if not _RELEASE.fullmatch(word):
        raise Usage(f'cannot read "{word[:40]}" as a release', hint="Give it as v3.")
    return word.removeprefix("v")
