"""What the refs of a push mean: which commits are deployed, which apps go with their branches."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from octo.model import AppName, app_name

ZERO = frozenset("0")
HEADS = "refs/heads/"
LONGEST = 63  # characters of an app's name, and of a label in DNS
HASH = 6  # characters that make a name unique which was cut


@dataclass(frozen=True)
class Branches:
    """The operator's rules for branches: the settings branches, branch_config and branch_grace."""

    main: tuple[str, ...] = ("main", "master")  # their pushes deploy the app itself
    apps: bool = True  # every other branch is an app of its own
    copy: bool = True  # its config begins as that of the app
    grace: float = 3600  # seconds between the end of a branch and that of its app


@dataclass(frozen=True)
class RefUpdate:
    old: str  # object names; all zeros: the ref is new
    new: str  # all zeros: the ref is to be deleted
    ref: str

    @property
    def deletes(self) -> bool:
        return set(self.new) <= ZERO


@dataclass(frozen=True)
class Target:
    """One deploy that a push asks for."""

    commit: str
    ref: str
    main: bool = True  # of the app itself; else of the branch's own


@dataclass(frozen=True)
class Verdict:
    """What a push of these refs means."""

    targets: tuple[Target, ...] = ()  # to deploy, one after the other
    deleted: tuple[str, ...] = ()  # branches that may have had an app
    notes: Sequence[str] = ()
    refused: str = ""


def decide(updates: Sequence[RefUpdate], branches: Branches, *, keep: bool = False) -> Verdict:
    """What is deployed, from the refs that were pushed: the app itself first, then its branches as they came.

    Tags never deploy; other branches do or are told of, as `branches` says. Deleting a branch that is the app itself
    is refused, and so is pushing two of them at once. keep: an import, where the first of those two is taken.
    """
    ours = [u for name in branches.main for u in updates if u.ref == HEADS + name]
    gone = next((u for u in ours if u.deletes), None)
    if gone:
        return Verdict(refused=f"cannot delete {short(gone.ref)} branch: it is what runs")
    if len(ours) > 1 and not keep:
        names = " and ".join(sorted(short(u.ref) for u in ours))
        return Verdict(refused=f"cannot deploy {names} in one push: push the one that is to run")
    heads = [u for u in updates if u.ref.startswith(HEADS) and u not in ours]
    own = [u for u in heads if branches.apps and not u.deletes]
    targets = [Target(u.new, u.ref) for u in ours[:1]] + [Target(u.new, u.ref, main=False) for u in own]
    notes = [_note(u, branches) for u in updates if u not in own and u not in ours[:1] and not u.deletes]
    return Verdict(tuple(targets), tuple(u.ref for u in heads if u.deletes), notes)


def short(ref: str) -> str:
    """The name of a branch."""
    return ref.removeprefix(HEADS)


def branch_name(app: AppName, ref: str) -> AppName:
    """What the app of a branch is called: octohost's NAME-BRANCH, made fit for DNS.

    Two branches may come to the same name, as a/b and a-b do; then the first has it. What had to be cut, or has no
    letter or digit that can stay, is made unique by a hash.
    """
    folded = re.sub(r"[^a-z0-9]+", "-", short(ref).lower()).strip("-")
    name = f"{app}-{folded}"
    if folded and len(name) <= LONGEST:
        return app_name(name)
    unique = hashlib.sha256(ref.encode("utf-8", "surrogateescape")).hexdigest()[:HASH]
    return app_name(f"{name[: LONGEST - HASH - 1].rstrip('-')}-{unique}")


def _note(update: RefUpdate, branches: Branches) -> str:
    kind, _, name = update.ref.removeprefix("refs/").partition("/")
    if kind == "tags":
        return f"Tag {name}: kept, not deployed. Tags never deploy."
    return f"Pushed to non-{branches.main[0]} branch, skipping build. ({name})"
