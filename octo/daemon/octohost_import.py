"""`import:octohost`: all that a copy of an octohost's files holds becomes this octo's, and may do so again.

An app's config comes before its code, so that its first release has it; its domains, its certificate and its template
come after. One app that fails does not stop the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from octo import octohost
from octo.assembly import Octo
from octo.daemon import octohost_files as files
from octo.daemon.bare import write_tar
from octo.daemon.importing import Importer
from octo.daemon.moving import app_called
from octo.daemon.octohost_config import Found, Wanted, in_order, kv_export, wanted
from octo.daemon.octohost_files import Copy
from octo.daemon.octohost_parts import Parts
from octo.envfile import octohost_export
from octo.errors import NoSuchApp, OctoError, Usage
from octo.model import App, AppName, shown
from octo.pipeline.domains import KEY as DOMAINS
from octo.ports import Console

MB = 1024 * 1024
PREFIX = "octohost"
LEAD = b" !     "  # of a program's errors


@dataclass
class Outcome:
    """What became of each name. failed: and why; idle: its code is here, and nothing of it serves, and why."""

    repositories: dict[AppName, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    idle: dict[AppName, str] = field(default_factory=dict)
    kept: list[AppName] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class OctohostImport:
    """rebuild: deploys the code that an app has here."""

    def __init__(self, octo: Octo, importer: Importer, rebuild: Callable[[App, Console], None], told: Console) -> None:
        self._octo, self._importer, self._rebuild = octo, importer, rebuild
        self._console = Noted(told)
        self._out = Outcome()

    def all(self, copy: Copy) -> Mapping[str, Any]:
        """Returns the names of what serves, what does not, and config that is kept.

        Raises OctoError after all were tried, when one of them does not serve; Usage before anything is changed.
        """
        out = self._out
        self._repositories(copy)
        prefix = self._defaults(copy)
        plan = self._plan(copy, prefix)
        for name, each in plan.items():
            self._try(f"{name}, its config", partial(self._first, name, each))
        for name in in_order(out.repositories):
            self._code(copy, name)
        for name in in_order({*out.idle, *(out.repositories.keys() & out.failed.keys())}):
            self._again(copy, name)
        for name, each in plan.items():
            self._try(f"{name}, its config", partial(self._last, name, each))
        return self._summary(plan)

    # --- what there is ---

    def _repositories(self, copy: Copy) -> None:
        for folder in copy.repositories():
            stem = folder.removesuffix(files.SUFFIX)
            try:
                if not files.PLAIN.fullmatch(stem):
                    raise Usage("that is no name of a repository of octohost's")
                name = app_called(stem)
                if name in self._out.repositories:
                    raise Usage(f"{self._out.repositories[name]} is the app {name} already")
                self._out.repositories[name] = folder
            except Usage as error:
                self._out.failed[shown(folder)] = error.message

    def _defaults(self, copy: Copy) -> str:
        """Tell of octohost's own settings; returns the prefix of its KV."""
        text = copy.text(files.DEFAULTS, MB)
        if text is None:
            return PREFIX
        file, here = octohost.parse(text), self._octo.settings.octohost_file
        self._console.step(f"octohost's settings, {files.DEFAULTS}, which are read and never run")
        offered = octohost.settings_of(file)
        known = [key for key, setting in octohost.SETTINGS.items() if setting in offered]
        lines = {
            "octo takes": known,
            "not run, so not taken": file.not_run,
            "not octo's": [key for key in file.values if key not in octohost.SETTINGS and key not in file.not_run],
            "lines that are no KEY=VALUE": [str(number) for number in file.other_lines],
        }
        for what, names in lines.items():
            if names:
                self._console.detail(f"{what}: {', '.join(names)}")
        if known and not here.is_file():
            self._console.detail(f"To have them here: cp DIR/{files.DEFAULTS} {here}, then restart octod")
        return PREFIX if "CONSUL_PREFIX" in file.not_run else file.values.get("CONSUL_PREFIX", PREFIX)

    def _plan(self, copy: Copy, prefix: str) -> Mapping[AppName, Wanted]:
        found = self._config(copy, prefix)
        self._console.step(f"{len(self._out.repositories)} repositories, config under {len(found.apps)} names")
        parts, plan = Parts(copy, self._octo.settings, self._console), dict[AppName, Wanted]()
        self._out.notes += found.notes
        for name in in_order(found.apps):
            each = wanted(found.apps[name], self._octo.routing.suffixes, pem=parts.pem, template=parts.template)
            plan[name] = each
            self._out.notes += [f"{name}: {note}" for note in each.notes]
        return plan

    def _config(self, copy: Copy, prefix: str) -> Found:
        data, text = copy.read(files.KV, 16 * MB), copy.text(files.EXPORT, 8 * MB)
        if data is not None:
            both = (f"{files.EXPORT} was not read: {files.KV} says it all",) if text is not None else ()
            found = kv_export(data, prefix)
            return Found(found.apps, (*found.notes, *both))
        try:
            lines = octohost_export(text or "")
            return Found({name: {str(k): v for k, v in config.items()} for name, config in lines.items()})
        except Usage as error:
            raise Usage(f"cannot read {files.EXPORT}: {error.message}", hint=error.hint) from None

    # --- what is done for each ---

    def _first(self, name: AppName, each: Wanted) -> None:
        """The config, for the app's next release where there is one, else for the app that will have the name."""
        app = self._app(name)
        if app is None:
            self._octo.catalog.keep_config(name, each.first)
        else:
            self._set(app, each.first)

    def _code(self, copy: Copy, name: AppName) -> None:
        folder = self._out.repositories[name]
        self._console.step(f"{name}, of {files.REPOSITORIES}/{folder}")

        def bring() -> None:
            with copy.repository(folder) as top:
                self._importer.stream(name, lambda writer: write_tar(top, writer), self._console)

        self._judged(name, bring)

    def _again(self, copy: Copy, name: AppName) -> None:
        """Another may have been what it waited for."""
        app = self._app(name)
        if app is None:
            self._code(copy, name)
            return
        self._console.step(f"{name}, once more")
        self._judged(name, lambda: self._rebuild(app, self._console))

    def _judged(self, name: AppName, act: Callable[[], None]) -> None:
        """Do it, and note what became of the app and of those of its branches."""
        out = self._out
        out.failed.pop(name, None)
        self._console.heard = ""
        self._try(name, act)
        app = self._app(name)
        if app is None:
            return
        heard = self._console.heard
        for each in (app, *self._octo.catalog.branch_apps(app)):
            out.idle.pop(each.name, None)
            if not each.live:
                out.idle[each.name] = heard or "nothing in it can be deployed"
        if not app.live:
            out.failed.pop(name, None)  # its code is here, and why it does not serve is told
        elif heard and name not in out.failed:
            out.notes.append(f"{name}: {heard}; what served before serves on")

    def _last(self, name: AppName, each: Wanted) -> None:
        app = self._app(name)
        if app is None:
            self._keep(name, each)
            return
        self._domains(app, each)
        for part in each.last:
            keys = " and ".join(part)
            if not app.live:
                self._out.notes.append(f"{name}: {keys}: only when it serves; import again then")
                continue
            try:
                self._set(app, part)
            except OctoError as error:
                self._out.notes.append(f"{name}: {keys} left out: {error.message}")

    def _keep(self, name: AppName, each: Wanted) -> None:
        names = {DOMAINS: " ".join(each.domains)} if each.domains else {}
        self._octo.catalog.keep_config(name, names)
        if name not in self._out.repositories:
            self._out.kept.append(name)
            left = [key for part in each.last for key in part]
            self._out.notes += [f"{name}: {', '.join(left)}: only when it serves; import again then"] if left else []

    def _domains(self, app: App, each: Wanted) -> None:
        """What is missing; those that a push's CNAME file or somebody here gave it stay."""
        had = {domain.hostname for domain in self._octo.catalog.domains(app)}
        missing = [name for name in each.domains if name not in had]
        for name in missing:
            try:
                self._octo.changes.domains.add(app, name, lambda other: True)
            except OctoError as error:
                self._out.notes.append(f"{app.name}: {error.message}")
        if missing:
            self._console.detail(f"{app.name}: domains {' '.join(missing)}")

    def _set(self, app: App, values: Mapping[str, str]) -> None:
        now = self._octo.catalog.config(app)
        new = {key: value for key, value in values.items() if now.get(key) != value}
        if new:
            self._console.step(f"{app.name}: {', '.join(sorted(new))}")
            self._octo.changes.config(app, new, user=None, console=self._console, restart=True)

    def _app(self, name: AppName) -> App | None:
        try:
            return self._octo.catalog.app(name)
        except NoSuchApp:
            return None

    def _try(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except OctoError as error:
            self._console.error(error.message)
            self._out.failed[name] = error.message

    # --- what came of it ---

    def _summary(self, plan: Mapping[AppName, Wanted]) -> Mapping[str, Any]:
        out, tell = self._out, self._console
        names = {name: self._app(name) for name in sorted({*out.repositories, *plan})}
        serve = [name for name, app in names.items() if app and app.live and name not in out.failed]
        tell.step(f"Imported {len(serve)} of {len(serve) + len(out.idle) + len(out.failed)}")
        for name in serve:
            app = names[name]
            tell.detail(f"{name}: v{app.live} is live at {self._octo.url(app)}" if app else name)
        for name, why in sorted(out.idle.items()):
            tell.detail(f"{name}: kept without a release: {why}")
        for what, why in sorted(out.failed.items()):
            tell.detail(f"{what}: failed: {why}")
        for name in out.kept:
            tell.detail(f"{name}: there is no app of that name; its config is kept for one")
        for note in out.notes:
            tell.detail(f"Note: {note}")
        self._refuse(sorted({*out.idle, *out.failed}))
        return {"apps": serve, "kept": out.kept, "notes": out.notes}

    def _refuse(self, names: Sequence[str]) -> None:
        if names:
            raise OctoError(
                f"cannot serve {len(names)} of what was imported: {', '.join(names)}",
                hint="Mend what is said of them above, and run it again: what is here already is not built twice.",
            )


class Noted:
    """A Console that remembers the first error since `heard` was emptied."""

    def __init__(self, to: Console) -> None:
        self._to, self.heard = to, ""

    def step(self, text: str) -> None:
        self._to.step(text)

    def detail(self, text: str) -> None:
        self._to.detail(text)

    def error(self, text: str) -> None:
        self.heard = self.heard or text
        self._to.error(text)

    def result(self, text: str) -> None:
        self._to.result(text)

    def raw(self, data: bytes) -> None:
        self._to.raw(data)

    def formatted(self, data: bytes) -> None:
        said = (line.removeprefix(LEAD) for line in data.split(b"\n") if line.startswith(LEAD))
        self.heard = self.heard or next(said, b"").decode("utf-8", "replace").strip()
        self._to.formatted(data)
