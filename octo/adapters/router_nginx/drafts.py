"""What a table would be served as: each app's template and certificate as they are, or else as they were good last."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from octo.adapters.router_nginx.certificates import DEFAULT, Certificate, Certificates, ending
from octo.adapters.router_nginx.own import Own, Templates
from octo.adapters.router_nginx.render import Brought, Renderer
from octo.adapters.router_nginx.trees import Tree
from octo.errors import RouterFailed
from octo.ports import Route


@dataclass(frozen=True)
class Draft:
    """A table and what its apps bring, by App.id."""

    routes: tuple[Route, ...]
    own: Mapping[str, Own] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)  # why an app is on what was good last
    sources: Mapping[str, str] = field(default_factory=dict)  # templates that were good last, of apps without a block

    def only(self, apps: Iterable[str]) -> "Draft":
        """The same with these apps' own blocks alone."""
        kept = frozenset(apps)
        return replace(self, own={id: own for id, own in self.own.items() if id in kept})

    def with_own(self, app: str, own: Own) -> "Draft":
        return replace(self, own={**self.own, app: own})

    def with_fault(self, app: str, why: str) -> "Draft":
        return replace(self, faults={**self.faults, app: why})

    def route(self, app: str) -> Route:
        return next(r for r in self.routes if r.id == app)


class Drafts:
    """Makes drafts, and the files of one."""

    def __init__(self, renderer: Renderer, templates: Templates, certificates: Certificates, *, secure: bool) -> None:
        """secure: whether https is served."""
        self._renderer, self._templates, self._certificates = renderer, templates, certificates
        self._secure = secure
        self._made: tuple[Draft | None, Mapping[str, bytes]] = (None, {})  # the last files, which are asked for twice

    def draft(self, routes: Sequence[Route], before: Tree | None, refused: Mapping[tuple[str, str], str]) -> Draft:
        """before: the tree that serves, whose files were good.

        refused: App.id and text of blocks that nginx would not have, and why.
        """
        draft = Draft(tuple(routes))
        for route in routes:
            if self._secure:
                draft = self._certified(draft, route, before)
            if route.front.template and route.targets:
                draft = self._owned(draft, route, before, refused)
            if route.front.template and route.id not in draft.own:
                draft = _remembered(draft, route, before)
        return draft

    def files(self, draft: Draft) -> Mapping[str, bytes]:
        """Every file of a tree but the marker, by its path in it."""
        if self._made[0] is not draft:
            self._made = draft, self._files(draft)
        return self._made[1]

    def _files(self, draft: Draft) -> Mapping[str, bytes]:
        brought = Brought(
            {id: own.text for id, own in draft.own.items()}, {id: c.hosts for id, c in draft.certificates.items()}
        )
        files = dict(self._renderer.table(draft.routes, brought))
        for route in draft.routes:
            if route.id in draft.own:
                files[_block(route.app)] = draft.own[route.id].text.encode()
                files[_template(route.app)] = draft.own[route.id].source.encode()
            elif route.id in draft.sources:
                files[_template(route.app)] = draft.sources[route.id].encode()
        if self._secure:
            files[_pem(DEFAULT)] = self._certificates.default()
            files |= {_pem(id): certificate.pem for id, certificate in draft.certificates.items()}
        return files

    def last_good(self, draft: Draft, route: Route, before: Tree | None) -> Own | None:
        """The app's block by the template that was good last, with today's names and addresses where that can be."""
        was = _was(route, before)
        source = before.text(_template(was.app)) if before and was else None
        if before is None or was is None or source is None:
            return None
        certificate = route.id in draft.certificates
        try:
            return self._templates.rendered(route, source, certificate=certificate)
        except RouterFailed:
            text = before.text(_block(was.app))
            return None if text is None else Own(was.front.template, source, text)

    def line(self, draft: Draft, app: str, number: int) -> int:
        """Which line of its template made a line of the app's block; 0 when that cannot be told."""
        own, certificate = draft.own[app], app in draft.certificates
        return self._templates.line(draft.route(app), own, number, certificate=certificate)

    def ending(self, tree: Tree | None) -> Sequence[str]:
        """Which certificates that serve have ended, or soon will."""
        served = [(r.app, tree.read(_pem(r.id))) for r in tree.routes() or ()] if tree and self._secure else []
        return [said for app, pem in served if pem and (said := ending(app, pem))]

    def _certified(self, draft: Draft, route: Route, before: Tree | None) -> Draft:
        try:
            found = self._certificates.of(route)
        except RouterFailed as error:
            draft = draft.with_fault(route.id, error.message)
            found = _certificate_before(route, before)
        return replace(draft, certificates={**draft.certificates, route.id: found}) if found else draft

    def _owned(self, draft: Draft, route: Route, before: Tree | None, refused: Mapping[tuple[str, str], str]) -> Draft:
        try:
            own = self._templates.own(route, certificate=route.id in draft.certificates)
            why = refused.get((route.id, own.text))
        except RouterFailed as error:
            why = error.message
        if why is None:
            return draft.with_own(route.id, own)
        last = self.last_good(draft, route, before)
        draft = draft.with_fault(route.id, why)
        return draft.with_own(route.id, last) if last and (route.id, last.text) not in refused else draft


def _was(route: Route, before: Tree | None) -> Route | None:
    """The app in the table that serves, maybe under another name."""
    return next((r for r in (before.routes() if before else None) or () if r.id == route.id), None)


def _remembered(draft: Draft, route: Route, before: Tree | None) -> Draft:
    was = _was(route, before)
    source = before.text(_template(was.app)) if before and was else None
    return draft if source is None else replace(draft, sources={**draft.sources, route.id: source})


def _certificate_before(route: Route, before: Tree | None) -> Certificate | None:
    """The certificate that served last, for the names that it was for and that the app still has."""
    pem = before.read(_pem(route.id)) if before else None
    if before is None or pem is None:
        return None
    lines = [line.split() for line in (before.text("tls.map") or "").splitlines()]
    hosts = {words[0] for words in lines if words[1:] == [f"{route.id};"]}
    return Certificate(pem, tuple(h for h in route.hosts if h in hosts))


def _block(app: str) -> str:
    return f"containers/{app}.conf"


def _template(app: str) -> str:
    return f"containers/{app}.template"


def _pem(id: str) -> str:
    return f"certificates/{id}.pem"
