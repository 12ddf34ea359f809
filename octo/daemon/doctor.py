"""Is everything in order on this machine, and if not, what is to be done?"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo.assembly import Octo
from octo.errors import OctoError
from octo.octohost import SETTINGS, settings_of
from octo.settings import read_octohost

MIN_FREE_SHARE, MIN_FREE_BYTES = 0.10, 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    check: str
    ok: bool
    detail: str
    hint: str = ""


def examine(octo: Octo) -> Sequence[Finding]:
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(octo)
        except OctoError as error:
            found.append(Finding(check.__name__.strip("_"), False, error.message, error.hint))
    return found


def _store(octo: Octo) -> Iterator[Finding]:
    yield Finding("store", True, octo.store.about())
    services, failing = octo.ports.registry.services(), octo.ports.registry.failing()
    said = f"{len(services)} known" + (f", failing their checks: {', '.join(failing)}" if failing else "")
    yield Finding("services", not failing, said, "See: octo ps, octo logs")


def _engine(octo: Octo) -> Iterator[Finding]:
    version = octo.engine.get("version")
    yield Finding("engine", True, f"Docker {version['Version']}, API {version['ApiVersion']}")


def _stack(octo: Octo) -> Iterator[Finding]:
    stack = octo.ports.stacks.current(octo.settings.stack)
    image = octo.ports.runtime.image(stack.image)
    missing = "" if image else f", but the engine has no image {stack.image}"
    yield Finding("stack", not missing, f"{stack.id} is there{missing}", "Make it: ./setup stack")


def _sandboxes(octo: Octo) -> Iterator[Finding]:
    yield Finding("sandboxes", True, octo.sandboxes)
    building, waiting = octo.builds.admission.standing()
    yield Finding("builds", True, f"{building} going on, {waiting} waiting for a place")
    problems = octo.network.check()
    said = "; ".join(problems) or "reaches the internet, and nothing else"
    yield Finding("network of the builds", not problems, said, "Restart octod, or wait half a minute: it mends that.")


def _nginx(octo: Octo) -> Iterator[Finding]:
    problems = octo.ports.router.problems()
    if not problems:
        ports = " and ".join(str(p) for p in (octo.settings.http_port, octo.settings.https_port) if p)
        yield Finding("nginx", True, f"serves on port {ports}, the newest routes in force")
    for problem in problems:
        yield Finding("nginx", False, problem, "Look into the error log under nginx/ in octo's folder, restart octod.")


def _served(octo: Octo) -> Iterator[Finding]:
    """Apps whose own template or certificate is no good: nobody else notices."""
    names = {app.id: app.name for app in octo.catalog.apps()}
    for id, why in octo.ports.router.faults().items():
        hint = f"Mend it, then: octo config:consul_template {names.get(id, id)}"
        yield Finding(f"template or certificate of {names.get(id, id)}", False, why, hint)
    for ending in octo.ports.router.ending():
        yield Finding(
            "certificates", False, ending, "Renew it: a new file is taken up by itself, a text by config:set."
        )


def _disk(octo: Octo) -> Iterator[Finding]:
    for name, path in (
        ("disk", octo.settings.home),
        ("disk of the engine", Path(octo.engine.get("info")["DockerRootDir"])),
    ):
        if not path.exists():
            continue
        usage, inodes = shutil.disk_usage(path), os.statvfs(path)
        enough = usage.free > min(MIN_FREE_SHARE * usage.total, MIN_FREE_BYTES)
        names = inodes.f_files == 0 or inodes.f_favail > 0.05 * inodes.f_files
        detail = f"{usage.free / 1024**3:.1f} of {usage.total / 1024**3:.1f} GB free at {path}"
        yield Finding(name, enough and names, detail, "Free some space: docker system df shows what the engine holds.")


def _ports(octo: Octo) -> Iterator[Finding]:
    for name, port, check in (
        ("ssh", octo.settings.ssh_port, octo.ssh_listening),
        ("http", octo.settings.http_port, lambda: not octo.ports.router.problems()),
    ):
        yield Finding(
            f"port {port}", check(), f"octo's {name} door", "Restart octod; see who else uses the port: ss -ltnp"
        )


def _permissions(octo: Octo) -> Iterator[Finding]:
    bad = [str(p) for p, mode in octo.private() if p.exists() and p.stat().st_mode & 0o777 & ~mode]
    detail = "octo's files are closed to others" if not bad else f"open to others: {', '.join(bad)}"
    yield Finding("permissions", not bad, detail, f"chmod go-rwx {' '.join(bad)}")


def _octohost(octo: Octo) -> Iterator[Finding]:
    """Which of octohost's own settings are in force, which are not, and why. Values may be secrets: names alone."""
    file, path = read_octohost(octo.settings.octohost_file), octo.settings.octohost_file
    if not path.is_file():
        return
    keys = {setting: key for key, setting in SETTINGS.items()}
    offered = settings_of(file)
    taken = [keys[s] for s, text in offered.items() if str(getattr(octo.settings, s, None)) == text]
    left = {
        "taken": taken,
        "overruled or of no use": [keys[s] for s in offered if keys[s] not in taken],
        "not run, so not taken": list(file.not_run),
        "kept": [key for key in file.values if key not in SETTINGS and key not in file.not_run],
        "lines that are no KEY=VALUE": [str(number) for number in file.other_lines],
    }
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in left.items() if names)
    lost = [key for key in file.not_run if key in SETTINGS and SETTINGS[key] not in offered]
    hint = "Write the values that it would have into the file, or into octo.toml."
    yield Finding("octohost's file", not lost, f"{path}: {said or 'empty'}", hint if lost else "")


def _apps(octo: Octo) -> Iterator[Finding]:
    apps = octo.catalog.apps()
    standing = octo.statuses(apps)
    down = [app.name for app in apps if standing[app.id] == "DOWN"]
    yield Finding(
        "apps",
        not down,
        "all that should run run" if not down else f"down: {', '.join(down)}",
        "See: octo ps, octo logs",
    )


def _config(octo: Octo) -> Iterator[Finding]:
    failed = octo.foreign.problems()
    said = "; ".join(failed) or "every change in the store is in a release, or waits for the next one"
    yield Finding("config", not failed, said, "Mend the value in the store; see: octo releases")


def _leftovers(octo: Octo) -> Iterator[Finding]:
    left = octo.leftovers()
    yield Finding("left-overs", not left, ", ".join(left) or "none", "Restart octod: it sweeps at its start.")


CHECKS = (
    _store,
    _engine,
    _stack,
    _sandboxes,
    _nginx,
    _served,
    _disk,
    _ports,
    _permissions,
    _octohost,
    _apps,
    _config,
    _leftovers,
)
