"""octohost's nginx templates, written for consul-template, as templates of octo's. Pure.

What consul-template can and octohost used is translated: services, keys, conditions on keys. What was octohost's own
around them (the listeners, ssl.conf, location.conf, the upstream group) becomes octo's, which knows TLS and websockets.
"""

import re

from octo.errors import Usage
from octo.model import shown

NAME = "REPLACEME"  # where octohost put the app's name
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_UPSTREAM = re.compile(rf"^[ \t]*upstream\s+{NAME}\s*\{{", re.MULTILINE)
_LISTEN = re.compile(r"^([ \t]*)listen\s+[^;{]*;", re.MULTILINE)
_PASS = re.compile(rf"proxy_pass\s+http://{NAME}/?;")
_DROPPED = re.compile(
    r"^[ \t]*include\s+\S*(?:ssl|location)\.conf;[ \t]*\n|^[ \t]*ssl_certificate(?:_key)?\s[^;]*;[ \t]*\n"
    r"|(?<=[\s;{])include\s+\S*(?:ssl|location)\.conf;|(?<=[\s;{])ssl_certificate(?:_key)?\s[^;]*;",
    re.MULTILINE,
)
_KEY = re.compile(r'(key|keyExists|key_exists)\s+"(?:[^"]*/)?([A-Za-z_][A-Za-z0-9_]*)"')
_DEFAULT = re.compile(r'key(?:_or_d|OrD)efault\s+"(?:[^"]*/)?([A-Za-z_][A-Za-z0-9_]*)"\s+"([^"\\]*)"')
_FIELDS = {".Address": "{{ instance.address }}", ".Port": "{{ instance.port }}"}


def translated(text: str) -> str:
    """The template in octo's form. Raises Usage, with the line, for what octo cannot translate."""
    text = _without_upstream(text)
    text = _DROPPED.sub("", _PASS.sub("include proxy.conf;", text))
    text = _listening(text)
    return _actions(text).replace(NAME, "{{ name }}")


def _without_upstream(text: str) -> str:
    """octo has a group of its own for each app, which proxy.conf names."""
    found = _UPSTREAM.search(text)
    if not found:
        return text
    plain = _ACTION.sub(lambda action: "x" * len(action[0]), text)  # braces of actions are not nginx's
    depth, at = 1, found.end()
    while depth and at < len(plain):
        depth += {"{": 1, "}": -1}.get(plain[at], 0)
        at += 1
    return text[: found.start()] + text[at:].lstrip("\n")


def _listening(text: str) -> str:
    """In each server block, octo's listeners in place of the first `listen`, and none of the others."""
    blocks = re.split(r"(?m)^(?=[ \t]*server\s*\{)", text)
    return "".join(_LISTEN.sub("", _LISTEN.sub(r"\1include listen.conf;", block, count=1)) for block in blocks)


def _actions(text: str) -> str:
    ends: list[str] = []
    result, at = "", 0
    for action in _ACTION.finditer(text):
        line = text.count("\n", 0, action.start()) + 1
        result += text[at : action.start()] + _action(action[1], ends, line)
        at = action.end()
    if ends:
        raise Usage("cannot translate the template: a {{range}} or {{if}} has no {{end}}")
    return result + text[at:]


def _action(words: str, ends: list[str], line: int) -> str:
    if re.match(r'range\s+(\$\w+\s*:=\s*)?service\s+"', words):
        ends.append("{% endfor %}")
        return "{% for instance in instances %}"
    if words == "else":
        return "{% else %}"
    if words == "end" and ends:
        return ends.pop()
    if words in _FIELDS:
        return _FIELDS[words]
    if words.startswith("/*"):
        return ""
    if (key := re.fullmatch(rf"if\s+{_KEY.pattern}", words)) is not None:
        ends.append("{% endif %}")
        return f'{{% if config.get("{key[2]}") %}}'
    if (key := _KEY.fullmatch(words)) is not None:
        return "{{ domains }}" if key[2] == "DOMAINS" else f"{{{{ config.{key[2]} }}}}"
    if (default := _DEFAULT.fullmatch(words)) is not None:
        return f'{{{{ config.get("{default[1]}", "{default[2]}") }}}}'
    raise Usage(
        f"cannot translate the template, near line {line}: octo does not know {shown('{{' + words + '}}')}",
        hint="Write that part in octo's form; see the README on templates.",
    )
