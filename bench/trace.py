"""Where the time of a push goes: moments noted by git, the engine and the console, and the time between them.

Nothing of octo is changed for it. git's own packet trace says when the refs came and when the pack went; the engine's
events say when containers were made, started and removed; the pusher's lines say when octo began each step.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from bench import engine
from bench.pushes import Timed
from bench.table import markdown

TRACING = {"GIT_TRACE_PACKET": "1"}  # git's environment
Moments = Mapping[str, float]  # name -> ms since the push began

# git's packets.
PACKETS = {"refs received": "push<", "pack goes": "push>"}
# The pusher's lines: the moment and what the line has.
LINES = {
    "build begins": "-----> Building from Dockerfile",
    "build told": "built in ",
    "start begins": "-----> Starting web.1",
    "start told": "started in ",
    "web answers": "web.1 is up",
    "prove told": "proved in ",
    "route told": "nginx switched",
    "address told": "=====> Your site",
}
# The engine's: kind of container, and what happened to it.
EVENTS = {
    "receiver made": ("receiver", "create"),
    "receiver started": ("receiver", "start"),
    "receiver ended": ("receiver", "die"),
    "receiver gone": ("receiver", "destroy"),
    "web made": ("web", "create"),
    "web started": ("web", "start"),
    "web kept": ("web", "update"),
}


def of_octo(push: Timed, name: str) -> Moments:
    """name: octo's instance."""
    return {**of_pusher(push), **_of_engine(push, f"{name}-rx-", f"{name}-bench-")}


def by_hand(push: Timed, marks: Sequence[tuple[float, str]], name: str) -> Moments:
    """marks: what the scripts noted."""
    said = {f"script: {what}": (at - push.began) * 1000 for at, what in marks}
    return {**of_pusher(push), **said, **_of_engine(push, "", "", label=name)}


def show(title: str, samples: Sequence[Moments]) -> str:
    """The moments in their usual order, with the median time since the push began and since the moment before."""
    names = sorted(_common(samples), key=lambda name: median(s[name] for s in samples))
    rows, before = [], None
    for name in names:
        at = median(s[name] for s in samples)
        step = median(s[name] - (s[before] if before else 0) for s in samples)
        rows.append((name, f"{at:.0f}", f"{step:.0f}"))
        before = name
    return markdown((title, "at ms", "took ms"), rows)


def _common(samples: Sequence[Moments]) -> set[str]:
    return set.intersection(*(set(sample) for sample in samples))


def of_pusher(push: Timed) -> Moments:
    """What git and its lines told."""
    ends = {"VISITOR SEES IT": push.answered * 1000, "PUSH RETURNS": push.returned * 1000}
    marks = {name: ("packet:", mark) for name, mark in PACKETS.items()}
    marks |= {name: ("remote:", mark) for name, mark in LINES.items()}
    found: dict[str, float] = {}
    for at, line in push.lines:
        for name, (kind, mark) in marks.items():
            if mark in line and kind in line and ("packet:" in line) == (kind == "packet:"):
                found.setdefault(name, (at - push.began) * 1000)
    return {**found, **ends}


def _of_engine(push: Timed, receiver: str, web: str, *, label: str = "") -> Moments:
    """The engine's events until it had removed the receiver; the first of each kind counts."""
    found: dict[str, float] = {}
    kinds = {what: name for name, what in EVENTS.items()}
    for event in engine.events(push.began, push.began + max(push.returned, push.answered) + 1):
        if event.get("Type") != "container":
            continue
        named = event["Actor"]["Attributes"]
        kind = _kind(named, receiver, web, label)
        name = kinds.get((kind, event["Action"]))
        if name:
            found.setdefault(name, (event["timeNano"] / 1e9 - push.began) * 1000)
    return found


def _kind(named: Mapping[str, str], receiver: str, web: str, label: str) -> str:
    if label:
        kinds = {label: "web", f"{label}-receiver": "receiver"}
        return kinds.get(named.get("octo.bench", ""), "")
    if named["name"].startswith(receiver):
        return "receiver"
    return "web" if named["name"].startswith(web) else ""
