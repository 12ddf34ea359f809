"""Single containers: one that is ended by hand, and those that have ended and are left over."""

import logging
from collections.abc import Sequence

from octo.catalog.writes import address_write, lock_key
from octo.errors import Locked, NotFound, Usage
from octo.journal import Journal
from octo.model import App, UserName, shown
from octo.pipeline.plan import ONE_OFF
from octo.pipeline.scale import Changes
from octo.ports import Console, Ports, Running

ENDED = ("exited", "dead")
LEAST = 4  # characters of an id

log = logging.getLogger(__name__)


def chosen(running: Sequence[Running], given: str) -> Running:
    """The container of that id, beginning of an id, whole name, or place as web.1. Raises NotFound, Usage."""
    if len(given) < LEAST and "." not in given:
        raise Usage(f"cannot tell which container {shown(given)} is", hint=f"Give {LEAST} characters of its id.")
    found = [r for r in running if given in (r.name, f"{r.process}.{r.index}") or r.id.startswith(given)]
    if not found:
        raise NotFound(f"cannot find the container {shown(given)}: this app has none of that id", hint="See: octo ps")
    if len(found) > 1:
        names = ", ".join(r.id[:12] for r in found)
        raise Usage(f"cannot tell which container {shown(given)} is: it could be {names}", hint="Give more of its id.")
    return found[0]


def kill(
    ports: Ports, changes: Changes, app: App, given: str, *, grace: float, user: UserName | None, console: Console
) -> Running:
    """End one container of the app, and no other, and forget its service. The reconciler puts another in its place."""

    def waiting(holder: str) -> None:
        console.step(f"Waiting for {holder}")

    with changes.alone(app, f"a kill by {user or 'the operator'}", waiting) as app:
        found = chosen(ports.runtime.list(app.id), given)
        for service in ports.registry.services(app.name):
            if service.address == found.address and not service.by_hand:
                ports.registry.deregister(service.id)
        ports.runtime.stop(found.name, grace)
        # What a deploy drains at this moment gives its address back by itself: twice could be somebody else's.
        if found.process not in ONE_OFF and found.name not in changes.retiring():
            ports.store.put_many([address_write(found.address, None)])
        return found


def clean(ports: Ports, journal: Journal) -> Sequence[str]:
    """Remove this octo's containers that have ended; returns their names. Data containers stay, as at octohost.

    Each under its app's lock, after another look: a deploy may own what stands still at this moment.
    """
    gone = []
    for container in ports.runtime.list():
        if not _left(container):
            continue
        try:
            with ports.store.lock(lock_key(container.app), holder="octo, cleaning up"):
                at_work = {str(e.subject.get("app", {}).get("id")) for e in journal.all()}
                now = ports.runtime.inspect(container.name)
                if now is None or not _left(now) or container.app in at_work:
                    continue
                log.info("removing %s, which has ended", container.name)
                ports.runtime.stop(container.name, 0)
                gone.append(container.name)
        except Locked:
            continue
    return gone


def _left(container: Running) -> bool:
    """One-off processes remove themselves, and whoever is attached still reads their end."""
    data = container.process.endswith("data") or container.name.endswith("_data")
    return container.state in ENDED and container.process not in ONE_OFF and not data
