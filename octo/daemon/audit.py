"""What is logged of a command: its name and its app, and no other word of it: any may be a secret (row T12). Pure."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

_COMMAND = re.compile(r"[a-z][a-z_]{0,30}(?::[a-z_]{1,30}){0,2}")
_NAMED = re.compile(r"(?:--app|--container)=(.*)", re.DOTALL)
UNSAID = "a command"
FLAGS = ("-a", "--app", "-c", "--container")


def described(words: Sequence[str], known: Callable[[str], bool]) -> str:
    """As "config:set of shop". known: whether there is such an app; what is none is not logged as one."""
    if not words:
        return "help"
    name = words[0] if _COMMAND.fullmatch(words[0]) else UNSAID
    app = next((word for word in _candidates(words[1:]) if known(word)), "")
    return f"{name} of {app}" if app else name


def _candidates(words: Sequence[str]) -> Sequence[str]:
    """The words that may name the app: after -a or -c, before a slash, or the first one."""
    until = list(words[: words.index("--")] if "--" in words else words)
    named = [after for flag, after in pairwise(until) if flag in FLAGS]
    named += [found[1] for word in until if (found := _NAMED.fullmatch(word))]
    return named or [word.partition("/")[0] for word in until[:1]]
