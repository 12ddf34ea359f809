"""Which app has which domain. The domain documents of the catalog are the truth; the config key DOMAINS follows them.

Names under octo's own suffixes belong to the apps of that name; of the others, who comes first has them until they are
let go. A domain came by command, and stays until a command takes it; or by the CNAME file of a push, and goes with the
first push whose file does not name it any more.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from octo.catalog import Catalog
from octo.catalog.writes import domain_write
from octo.errors import BuildFailed, Conflict, Forbidden, NotFound, OctoError, Taken, Usage
from octo.model import App, Domain, Hostname, hostname, shown
from octo.pipeline.routing import Routing
from octo.ports import Write

KEY = "DOMAINS"  # octohost's, in an app's config
MOST = 100  # domains in one CNAME file
TRIES = 20  # against others who change domains at the same moment

MayRead = Callable[[App], bool]  # whether who asks may know of that app


class Domains:
    def __init__(self, catalog: Catalog, routing: Routing, now: Callable[[], float]) -> None:
        self._catalog, self._routing, self._now = catalog, routing, now

    def add(self, app: App, name: Hostname, may_read: MayRead, *, take: bool = False) -> Domain:
        """Give the app a domain; again is no error. take: also from another app, which only the operator may.

        Raises Taken, Forbidden, and RouterFailed; then nothing has changed.
        """
        domain = Domain(name, app.id, self._now())
        loser: list[App] = []

        def change(known: "Known") -> Sequence[Write]:
            self._refuse(app, [name], known, may_read, take=take)
            owner = known.owner(name)
            loser[:] = [owner] if owner and owner.id != app.id else []
            lost = [write for each in loser for write in known.mirror(each, known.of(each) - {name})]
            return [known.write(domain), *known.mirror(app, known.of(app) | {name}), *lost]

        self._change(change)
        return domain

    def remove(self, app: App, name: Hostname) -> None:
        def change(known: "Known") -> Sequence[Write]:
            if name not in known.of(app):
                raise NotFound(
                    f'cannot remove the domain "{name}": "{app.name}" does not have it', hint="See: octo domains"
                )
            return [known.removal(name), *known.mirror(app, known.of(app) - {name})]

        self._change(change)

    def set(self, app: App, names: Iterable[Hostname], may_read: MayRead) -> Sequence[Hostname]:
        """Let the app have exactly these domains, beside its own names; they stay whatever a CNAME file says.

        Returns them sorted. Raises as `add`.
        """
        wanted = sorted(set(names) - set(self._routing.names(app)))

        def change(known: "Known") -> Sequence[Write]:
            self._refuse(app, wanted, known, may_read)
            gone = [known.removal(name) for name in known.of(app) - set(wanted)]
            mine = [known.write(Domain(name, app.id, self._now())) for name in wanted if not known.stays(app, name)]
            return [*gone, *mine, *known.mirror(app, set(wanted), always=True)]

        self._change(change)
        return wanted

    def asked(self, app: App, cname: str | None, may_read: MayRead) -> tuple[Hostname, ...]:
        """The domains that a CNAME file asks for. Raises BuildFailed, which names the line."""
        known = Known(self._catalog)
        found: dict[Hostname, int] = {}
        for number, name in _lines(cname or ""):
            if name not in self._routing.names(app):
                found.setdefault(name, number)
        for name, number in found.items():
            why = self._against(app, name, known, may_read)
            if why:
                raise BuildFailed(
                    f'cannot use the CNAME file: line {number}, "{name}": {why}', hint=f'Take "{name}" out of it.'
                )
        if len(found) > MOST:
            raise BuildFailed(f"cannot use the CNAME file: it names more than {MOST} domains")
        return tuple(found)

    def writes_of_push(self, app: App, names: Sequence[Hostname]) -> Sequence[Write]:
        """What a deploy of a push commits: its CNAME file's domains in, those of the one before out. Raises Taken."""
        known = Known(self._catalog)
        self._refuse(app, names, known, lambda other: False)
        had = {name for name in known.of(app) if known.pushed(name)}
        gone = [known.removal(name) for name in had - set(names)]
        new = sorted(set(names) - known.of(app))
        came = [known.write(Domain(name, app.id, self._now(), pushed=True)) for name in new]
        after = (known.of(app) - had) | set(names)
        return [*gone, *came, *(known.mirror(app, after) if gone or came else ())]

    def _change(self, change: Callable[["Known"], Sequence[Write]]) -> None:
        """Write and route; what cannot be routed must not stay and fail everybody's next change."""
        for turn in range(TRIES):
            known = Known(self._catalog)
            writes = change(known)
            try:
                self._catalog.store.put_many(writes)
            except Conflict:
                if turn == TRIES - 1:
                    raise
                continue
            break
        try:
            self._routing.refresh()
        except OctoError:
            self._catalog.store.put_many(known.undoing(writes))
            raise

    def _refuse(
        self, app: App, names: Iterable[Hostname], known: "Known", may_read: MayRead, *, take: bool = False
    ) -> None:
        for name in names:
            why = self._against(app, name, known, may_read, take=take)
            if why:
                error = Taken if known.owner(name) else Forbidden
                raise error(f'cannot add the domain "{name}": {why}')

    def _against(self, app: App, name: Hostname, known: "Known", may_read: MayRead, *, take: bool = False) -> str:
        """Why the app cannot have the domain; "" when it can."""
        suffix = next((s for s in self._routing.suffixes if name == s or name.endswith(f".{s}")), "")
        if name == suffix and not take:
            return "it is octo's own name, which only the operator gives away, with --take"
        if suffix and name != suffix and name not in self._routing.names(app):
            return f"names under {suffix} belong to the apps of that name"
        owner = known.owner(name)
        if owner is None or owner.id == app.id or take:
            return ""
        return f'the app "{owner.name}" has it' if may_read(owner) else "another app has it"


class Known:
    """All domains as they are at one moment, and the writes that change them if they still are."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._found = catalog.versioned_domains()
        self._before = {domain_write(n, d).key: domain_write(n, d).data for n, (d, _) in self._found.items()}

    def of(self, app: App) -> set[Hostname]:
        return {name for name, (domain, _) in self._found.items() if domain.app == app.id}

    def owner(self, name: Hostname) -> App | None:
        """None: nobody, or an app that is gone."""
        found = self._found.get(name)
        return self._catalog.by_id(found[0].app) if found else None

    def pushed(self, name: Hostname) -> bool:
        return self._found[name][0].pushed

    def stays(self, app: App, name: Hostname) -> bool:
        """Whether the app has it, by command."""
        return name in self.of(app) and not self.pushed(name)

    def write(self, domain: Domain) -> Write:
        found = self._found.get(domain.hostname)
        return domain_write(domain.hostname, domain, expect=found[1] if found else 0)

    def removal(self, name: Hostname) -> Write:
        return domain_write(name, None, expect=self._found[name][1])

    def mirror(self, app: App, names: set[Hostname], *, always: bool = False) -> Sequence[Write]:
        """The config key DOMAINS, where it is; always: also where it was not."""
        now = self._catalog.config(app).get(KEY)
        after = " ".join(sorted(names)) or None
        if now == after or (now is None and not always):
            return ()
        (write,) = self._catalog.config_writes(app, {KEY: after})
        self._before[write.key] = None if now is None else now.encode()
        return [write]

    def undoing(self, writes: Sequence[Write]) -> Sequence[Write]:
        """What puts all that these writes changed back to what it was."""
        return [Write(write.key, self._before.get(write.key)) for write in writes]


def listed(text: str) -> Sequence[Hostname]:
    """Domains with commas or white space between them, sorted, each once. Raises Usage."""
    return sorted({hostname(word) for word in re.split(r"[\s,]+", text) if word})


def _lines(cname: str) -> Iterable[tuple[int, Hostname]]:
    for number, line in enumerate(cname.removeprefix("\ufeff").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            yield number, hostname(text)
        except Usage:
            raise BuildFailed(
                f"cannot use the CNAME file: line {number}, {shown(text)}, is no domain",
                hint="Write one host name a line, such as www.example.com.",
            ) from None


def without(config: Mapping[str, str | None]) -> dict[str, str | None]:
    """Config changes but DOMAINS, which makes no release."""
    return {key: value for key, value in config.items() if key != KEY}
