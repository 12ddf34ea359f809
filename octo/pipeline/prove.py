"""Prove that the new containers work before they get traffic, and say why when they don't."""

from collections.abc import Callable, Sequence

from octo.errors import DeployFailed
from octo.model import Release, Slot
from octo.pipeline.plan import is_web
from octo.ports import Clock, Probe, Running, Runtime

TAIL = 20  # log lines shown of a container that failed


class Prover:
    def __init__(self, runtime: Runtime, probe: Probe, clock: Clock, *, boot: float, settle: float) -> None:
        self._runtime = runtime
        self._probe = probe
        self._clock = clock
        self._boot = boot  # seconds for web to answer
        self._settle = settle  # seconds the others must stay up

    def prove(self, release: Release, slots: Sequence[Slot], host: str, tell: Callable[[str], None]) -> None:
        """Wait until every slot works. Raises DeployFailed with the reason and the last log lines."""
        start = self._clock.monotonic()
        pending = list(slots)
        pause = 0.01
        while pending:
            waited = self._clock.monotonic() - start
            left = []
            for slot in pending:
                if self._works(release, slot, host, waited):
                    tell(f"{slot.process}.{slot.index} is up after {waited:.1f} s")
                else:
                    left.append(slot)
            pending = left
            if pending and waited > self._boot:
                raise self._late(release, pending[0], host)
            if pending:
                self._clock.sleep(pause)
                pause = min(pause * 1.5, 0.25)

    def _works(self, release: Release, slot: Slot, host: str, waited: float) -> bool:
        running = self._runtime.inspect(slot.name)
        if running is None or running.state != "running":
            raise self._died(slot, running)
        if not (is_web(slot.process) and release.routed):
            return waited >= self._settle
        status = self._probe.http(slot.address, release.port, check_path(release), host)
        return status is not None and 0 < status < 500

    def _died(self, slot: Slot, running: Running | None) -> DeployFailed:
        what = f"{slot.process}.{slot.index}"
        if running is None:
            return DeployFailed(f'cannot start "{what}": its container has gone')
        if running.oom:
            how, hint = "it ran out of memory", "Give it more memory, or make it need less."
        elif running.exit_code == 0:
            how, hint = "it ended at once, exit code 0", "Run the program in the foreground, not as a daemon."
        else:
            how, hint = f"it ended with exit code {running.exit_code}", "See its last lines above."
        return DeployFailed(f'cannot start "{what}": {how}{self._last_lines(slot)}', hint=hint)

    def _late(self, release: Release, slot: Slot, host: str) -> DeployFailed:
        what, port, path = f"{slot.process}.{slot.index}", release.port, check_path(release)
        status = self._probe.http(slot.address, port, path, host)
        elsewhere = sorted({f"{address}:{number}" for address, number in self._runtime.listening(slot.name)})
        if status:
            how, hint = (
                f"it answers {status} on {path}",
                "Make that path answer below 500, or set CUSTOM_CHECK to another.",
            )
        elif status == 0:
            how, hint = f"port {port} is open but gives no HTTP answer", f"Answer HTTP on port {port}."
        elif elsewhere:
            how = f"nothing listens on 0.0.0.0:{port}, only on {', '.join(elsewhere)}"
            hint = f"Listen on 0.0.0.0 and the port in $PORT ({port}), or set PORT in the app's config."
        else:
            how, hint = f"nothing listens on port {port}", f"Listen on 0.0.0.0 and the port in $PORT ({port})."
        return DeployFailed(f'cannot use "{what}": {how} after {self._boot:.0f} s{self._last_lines(slot)}', hint=hint)

    def _last_lines(self, slot: Slot) -> str:
        lines = [line.partition(b" ")[2] for line in self._runtime.logs(slot.name, tail=TAIL, follow=False)]
        text = b"\n".join(line.rstrip(b"\n") for line in lines).decode("utf-8", "replace")
        return f"\nIts last lines:\n{text}" if text.strip() else "\nIt printed nothing."


def check_path(release: Release) -> str:
    """CUSTOM_CHECK is a path, or octohost's URL whose path counts."""
    given = release.config.get("CUSTOM_CHECK", "/")
    path = given if given.startswith("/") else "/" + given.partition("://")[2].partition("/")[2]
    return path if path.isascii() and path.isprintable() and " " not in path else "/"
