"""The deploys that one push asks for, one after the other: each built, deployed, and counted before the next begins."""

from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack

from octo.errors import Locked, OctoError, Usage
from octo.model import App
from octo.pipeline.receive import Phase, Push, Receiver
from octo.pipeline.refs import RefUpdate, Target, decide, short
from octo.ports import Console

LOOK = 1.0  # seconds between two looks, while waiting for a lock, whether the pusher is still there

TAKEN, REFUSED = "exit 0", "exit 1"


class Turns:
    """What the receiver is to do next, as the one line that it reads.

    "build COMMIT FILES APP", "exit N", or "refuse REF...": take the push, less these. The app of a branch is locked
    from the beginning of its turn to the end; that of the repository already was, so nobody waits in a circle.
    """

    def __init__(self, push: Push, receiver: Receiver) -> None:
        self._push, self._receiver = push, receiver
        self._left: deque[Target] = deque()
        self._at: Target | None = None
        self._gone: Sequence[str] = ()  # branches that are being deleted
        self._failed: list[Target] = []
        self._well = 0  # turns that ended well
        self._held = ExitStack()

    @property
    def expected(self) -> str:
        """The commit that is to be built now; "" for none."""
        return self._at.commit if self._at else ""

    def begin(self, updates: Sequence[RefUpdate], console: Console) -> str:
        push = self._push
        if push.rebuild is not None:
            self._left.append(_again(push.rebuild, updates))
            return self._next(console)
        verdict = decide(updates, self._receiver.branches.rules, keep=push.keeps)
        if verdict.refused:
            console.error(verdict.refused)
            return REFUSED
        for note in verdict.notes:
            console.step(note)
        self._left.extend(verdict.targets)
        self._gone = verdict.deleted
        return self._next(console)

    def ended(self, console: Console, *, well: bool) -> str:
        """The turn is over. Returns what comes next."""
        if self._at is None:
            raise Usage("cannot go on: nothing was under way")
        self._settle(well=well)
        return self._next(console)

    def close(self) -> None:
        """The push is over, however it ended."""
        self._held.close()

    def _settle(self, *, well: bool) -> None:
        target, self._at = self._at, None
        try:
            if well:
                self._well += 1
                self._receiver.branches.keep(self._push.to)
            elif target:
                self._failed.append(target)
        finally:
            self._held.close()
            self._push.build, self._push.phase = None, Phase.RECEIVING

    def _next(self, console: Console) -> str:
        while self._left:
            self._at = self._left.popleft()
            try:
                if self._begun(self._at, console):
                    return self._order(self._at)
            except OctoError as error:
                tell(console, error)
                self._settle(well=False)
            else:
                self._settle(well=True)
        return self._last(console)

    def _begun(self, target: Target, console: Console) -> bool:
        """Whether there is something to build. Raises what stands against it."""
        push, receiver = self._push, self._receiver
        push.check()
        push.ref = target.ref
        if push.rebuild is None:
            push.target = None if target.main or receiver.custom else self._branch(target, console)
            live = receiver.already_live(push, target.commit)
            if live:
                console.result(f"Already live as v{live.version}: {receiver.url(push.to)}")
                return False
        return True

    def _branch(self, target: Target, console: Console) -> App:
        app = self._receiver.branches.app(self._push.app, target.ref, console)
        console.step(f"Branch {short(target.ref)}: the app {app.name}")
        self._lock(app, console)
        return self._receiver.there(app)

    def _lock(self, app: App, console: Console) -> None:
        """Wait a little at a time: a pusher who hangs up is waited for no longer."""
        left, told = self._receiver.wait, False

        def waiting(other: str) -> None:
            nonlocal told
            if not told:
                console.step(f"Waiting: {other} to {app.name} goes first")
            told = True

        while True:
            self._push.check()
            span = min(LOOK, max(left, 0.0))
            try:
                lock = self._receiver.catalog.lock(app, holder=self._push.holder, wait=span, waiting=waiting)
                self._held.enter_context(lock)
                return
            except Locked as error:
                left -= LOOK
                if left <= 0:
                    raise self._receiver.catalog.busy(app, error) from None

    def _order(self, target: Target) -> str:
        app = self._push.to
        return f"build {target.commit} {int(app.limits.get('files', self._receiver.files))} {app.name}"

    def _last(self, console: Console) -> str:
        names = ", ".join(short(t.ref) for t in self._failed)
        if self._failed and self._push.keeps:
            console.step(f"The code is kept; nothing was deployed of {names}")
        elif self._failed and not self._well:
            return REFUSED
        for ref in self._gone:
            self._receiver.branches.branch_ended(self._push.app, ref, self._push.user, console)
        if self._failed and not self._push.keeps:
            console.error(f"Refused: {names}. The rest of the push is taken.")
            return " ".join(["refuse", *(t.ref for t in self._failed)])
        return TAKEN


def tell(console: Console, error: OctoError) -> None:
    console.error(f"octo: {error.message}")
    if error.hint:
        console.error(error.hint)


def _again(commit: str, updates: Sequence[RefUpdate]) -> Target:
    """What the receiver of a rebuild found. commit: which it must be; "" for any."""
    if len(updates) != 1 or (commit and updates[0].new != commit):
        raise Usage("cannot build: that is not the commit that was asked for")
    return Target(updates[0].new, updates[0].ref)
