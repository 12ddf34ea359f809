"""An app's block of its own: a template of the operator's, rendered with values that cannot leave their place.

Who pushes chooses by NGINX_ALT which template, and through config and domains some of the words in it; what is code of
nginx's comes from the operator's folder alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from octo.adapters.router_nginx.files import read
from octo.adapters.router_nginx.render import Checked, Frame, app_id, endpoint, host, target
from octo.errors import RouterFailed
from octo.model import shown
from octo.ports import Route

LONGEST = 256 * 1024  # bytes of a template, and of what becomes of it
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN = re.compile(r"[A-Za-z0-9._/:@%+=,-]+")  # no space, quote, semicolon, brace, dollar, hash, backslash
_BETWEEN = re.compile(r"[ ,|\n\t]*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f$]")
_MARK = re.compile(r"\x02([0-9]+)\x03")
_FILE = "<an app's template>"  # as tracebacks call it
_FAILURES = (TemplateError, RouterFailed, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


@dataclass(frozen=True)
class Own:
    """An app's own block."""

    template: str  # file name
    source: str  # the template's text
    text: str  # rendered


class At(RouterFailed):
    """Something is wrong with a template, in one line of it; 0: nobody knows in which."""

    def __init__(self, route: Route, line: int, source: str, why: str) -> None:
        lines = source.splitlines()
        where = f", line {line}, {shown(lines[line - 1].strip())}" if 0 < line <= len(lines) else ""
        super().__init__(
            f'cannot serve "{route.app}" by the template "{route.front.template}"{where}: {why}',
            hint="Mend the template, or unset NGINX_ALT.",
        )


class Names(tuple[Checked, ...]):
    """The app's host names; written as they are they stand with spaces between, as server_name wants them."""

    __slots__ = ()

    def __str__(self) -> str:
        return " ".join(self)


class Instance(NamedTuple):
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Tls:
    """What a template is told of https."""

    listen: Checked
    port: int
    certificate: Checked  # of chain and key; the same file twice
    key: Checked
    forced: bool


class Config:
    """The app's config: a template gets the keys that it names, and cannot ask which there are."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = config

    def __getitem__(self, key: str) -> str:
        return self._config[key]

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def get(self, key: str, default: str = "") -> str:
        return self._config.get(key, default)


class Missing(StrictUndefined):
    """Says which key of the config is not there; who tests with `is defined` or takes a default is not troubled."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Config):
            return f"the app's config has no {self._undefined_name}"
        return super()._undefined_message


class Templates:
    def __init__(self, folder: Path, frame: Frame) -> None:
        self._folder, self._frame = folder, frame
        self._env, self._marking = _environment(()), _environment((_Marks,))

    def own(self, route: Route, *, certificate: bool) -> Own:
        """Render the app's block by its template as it lies there now. Raises RouterFailed."""
        return self.rendered(route, self.source(route), certificate=certificate)

    def rendered(self, route: Route, source: str, *, certificate: bool) -> Own:
        """certificate: whether the app has one of its own."""
        values = self._values(route, certificate=certificate)
        try:
            text = _render(self._env, source, values)
        except RecursionError:
            raise At(route, 0, source, "it calls itself without end") from None
        except _FAILURES as error:
            raise At(route, _line_of(error), source, _words(error)) from None
        if len(text) > LONGEST:
            raise At(route, 0, source, f"it makes more than {LONGEST // 1024} KB")
        return Own(route.front.template, source, text)

    def line(self, route: Route, own: Own, number: int, *, certificate: bool) -> int:
        """Which line of the template made this line of the text; 0 when that cannot be told."""
        try:
            marked = _render(self._marking, own.source, self._values(route, certificate=certificate))
        except (*_FAILURES, RecursionError):
            return 0
        lines = marked.split("\n")
        if _MARK.sub("", marked) != own.text or not 0 < number <= len(lines):
            return 0
        found = _MARK.search(lines[number - 1])
        return int(found[1]) if found else 0

    def source(self, route: Route) -> str:
        """The template's text. Raises RouterFailed; what lies outside the folder is as if it were not there."""
        name = route.front.template
        try:
            data = read(self._folder / name, LONGEST) if NAME.fullmatch(name) else None
        except (OSError, ValueError):
            data = None
        if data is None:
            raise RouterFailed(
                f'cannot serve "{route.app}" by the template {shown(name)}: there is none of that name',
                hint="Ask the operator to put it into the folder of templates, or unset NGINX_ALT.",
            )
        return _decoded(route, data)

    def _values(self, route: Route, *, certificate: bool) -> Mapping[str, object]:
        return {
            "name": Checked(route.app),
            "release": route.release,
            "domains": Names(host(one) for one in route.hosts),
            "instances": tuple(_instances(route.targets)),
            "upstream": Checked(f"octo_{app_id(route.id)}"),
            "listen": endpoint((self._frame.listen, self._frame.port)),
            "tls": self._tls(route, certificate=certificate),
            "config": Config(route.config),
        }

    def _tls(self, route: Route, *, certificate: bool) -> Tls | None:
        port = self._frame.tls_port
        if not port:
            return None
        file = Checked(f"certificates/{app_id(route.id) if certificate else 'default'}.pem")
        return Tls(endpoint((self._frame.listen, port)), port, file, file, route.front.forced)


class _Marks(Extension):
    """Writes before each piece of a template's own text from which line it is."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            pieces = token.value.splitlines(keepends=True) if token.type == "data" else ()
            numbered = enumerate(pieces, token.lineno)
            marked = "".join(f"\x02{number}\x03{piece}" for number, piece in numbered)
            yield Token(token.lineno, token.type, marked) if pieces else token


def _environment(extensions: Sequence[type[Extension]]) -> ImmutableSandboxedEnvironment:
    env = ImmutableSandboxedEnvironment(
        undefined=Missing,
        finalize=_finalize,
        extensions=extensions,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # nginx is no HTML: _finalize lets plain words through alone
    )
    env.filters.update({"join": _join, "quoted": _quoted})
    return env


def _render(env: ImmutableSandboxedEnvironment, source: str, values: Mapping[str, object]) -> str:
    code = env.compile(source, filename=_FILE)
    return Template.from_code(env, code, env.make_globals(None)).render(values)


def _finalize(value: object) -> str:
    """What `{{ value }}` writes. Raises RouterFailed for what could end the directive that it stands in."""
    if isinstance(value, Undefined):
        return str(value)  # which raises, and says what is missing
    if isinstance(value, Checked):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, Names | Instance) or (isinstance(value, str) and _PLAIN.fullmatch(value)):
        return str(value)
    raise RouterFailed(_HARMFUL)


_HARMFUL = "the value there is empty or has characters that nginx could take for its own; `|quoted` puts it in quotes"


def _join(values: Iterable[object], between: str = "") -> Checked:
    if not _BETWEEN.fullmatch(between):
        raise RouterFailed("only spaces, commas, bars and line ends may stand between joined values")
    return Checked(between.join(_finalize(value) for value in values))


def _quoted(value: object) -> Checked:
    """In nginx's double quotes, where all but a dollar can be written."""
    if isinstance(value, Undefined):
        return Checked(str(value))
    text = str(value)
    if _UNPRINTABLE.search(text) or "\n" in text:
        raise RouterFailed("the value there has a line end, a control character or a $, which nginx cannot quote")
    return Checked('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')


def _instances(targets: Sequence[str]) -> Iterator[Instance]:
    for one in targets:
        address, _, port = target(one).rpartition(":")
        yield Instance(address, int(port))


def _decoded(route: Route, data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    if "\ufffd" in text or "\x02" in text or "\0" in text:
        raise At(route, 0, "", "it is no text in UTF-8")
    return text


def _line_of(error: Exception) -> int:
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, frame = 0, error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == _FILE:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _words(error: Exception) -> str:
    text = error.message if isinstance(error, TemplateError | RouterFailed) else str(error)
    return "".join(c if c.isprintable() else " " for c in text or type(error).__name__)[:300]
