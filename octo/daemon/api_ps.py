"""/apps/{app}/formation, /dynos, /actions, /log-sessions: what runs."""

import secrets
from collections.abc import Iterable

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.daemon.logs import LogSession, merged
from octo.errors import NotFound, Usage
from octo.formation import wanted
from octo.model import process_name, quantity
from octo.ports import Running

WAITING = 256  # log sessions that were opened and not read yet; the oldest goes
STATES = {"running": "up", "created": "starting", "restarting": "crashed", "exited": "crashed", "dead": "crashed"}


def formation(ask: Ask) -> Json:
    live = ask.octo.catalog.live(ask.app)
    if live is None:
        return []
    want = wanted(live.processes, ask.octo.catalog.scale(ask.app))
    return [
        {"type": p, "quantity": n, "command": live.processes[p] or "", "size": "container"}
        for p, n in sorted(want.items())
        if p in live.processes
    ]


def scale(ask: Ask) -> Json:
    updates = ask.given("updates", [])
    if not updates or not all(isinstance(u, dict) for u in updates):
        raise Usage('cannot scale: "updates" must be a list of {type, quantity}')
    numbers: dict[str, int] = {process_name(str(u.get("type"))): quantity(str(u.get("quantity"))) for u in updates}
    ask.octo.changes.scale(ask.app, numbers, user=ask.actor.user, console=ask.console)
    return formation(ask)


def dynos(ask: Ask) -> Json:
    going = ask.octo.deployer.retiring()
    return [_dyno(r, going=r.name in going) for r in ask.octo.ports.runtime.list(ask.app.id)]


def _dyno(running: Running, *, going: bool) -> Json:
    return {
        "id": running.id[:12],
        "name": f"{running.process}.{running.index}",
        "type": running.process,
        "state": "stopping" if going else STATES.get(running.state, running.state),
        "release": {"version": running.release},
        "address": running.address,
        "updated_at": iso(running.started_at),
        "size": "container",
        "command": "",
    }


def restart(ask: Ask) -> Json:
    only = ask.path.get("type", "")
    ask.octo.changes.restart(ask.app, only, user=ask.actor.user, console=ask.console)
    return {}


def stop(ask: Ask) -> Json:
    ask.octo.changes.stop(ask.app, user=ask.actor.user, console=ask.console)
    return {}


def start(ask: Ask) -> Json:
    ask.octo.changes.start(ask.app, user=ask.actor.user, console=ask.console)
    return {}


def run(ask: Ask) -> Json:
    """A one-off process; the caller hands its streams to `attach_url` with the secret, once."""
    command = ask.text("command")
    if not command.strip() or "\0" in command:
        raise Usage("cannot run an empty command")
    size = (min(max(int(ask.given("rows", 24)), 1), 1000), min(max(int(ask.given("columns", 80)), 1), 1000))
    secret = ask.extra["attach"].expect(ask.app, command, tty=ask.given("tty", False), size=size)
    path = str(ask.octo.settings.run / "attach.sock")
    return {"name": "run.1", "type": "run", "state": "starting", "attach_url": path, "attach_secret": secret}


def open_logs(ask: Ask) -> Json:
    lines = ask.given("lines", 100)
    if not 0 <= lines <= 10000:
        raise Usage("cannot show that many lines", hint="Ask for 0 to 10000.")
    session = LogSession(ask.app.id, lines, ask.given("tail", False), ask.given("dyno", ""))
    id = secrets.token_urlsafe(16)
    ask.extra["logs"][id] = session
    if len(ask.extra["logs"]) > WAITING:
        ask.extra["logs"].pop(next(iter(ask.extra["logs"])), None)
    return {"id": id, "logplex_url": f"/logs/{id}"}


def logs(ask: Ask) -> Iterable[bytes]:
    session = ask.extra["logs"].pop(ask.path["id"], None)
    if session is None:
        raise NotFound("cannot find that log session: it was used or never opened")
    return merged(ask.octo.ports.runtime, session)


RESOURCES = (
    Resource("GET", "/apps/{app}/formation", Verb.READ, formation),
    Resource("PATCH", "/apps/{app}/formation", Verb.WRITE, scale, deploys=True),
    Resource("GET", "/apps/{app}/dynos", Verb.READ, dynos),
    Resource("POST", "/apps/{app}/dynos", Verb.WRITE, run, status=201),
    Resource("DELETE", "/apps/{app}/dynos", Verb.WRITE, restart, deploys=True),
    Resource("DELETE", "/apps/{app}/dynos/{type}", Verb.WRITE, restart, deploys=True),
    Resource("POST", "/apps/{app}/actions/stop", Verb.WRITE, stop, deploys=True),
    Resource("POST", "/apps/{app}/actions/start", Verb.WRITE, start, deploys=True),
    Resource("POST", "/apps/{app}/log-sessions", Verb.READ, open_logs, status=201),
    Resource("GET", "/logs/{id}", Verb.READ, logs, text=True),
)
