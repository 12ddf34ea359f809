"""A draft on its way to a tree that nginx takes: what one app brought and nginx refuses harms that app alone."""

import logging
import re
from collections.abc import Mapping

from octo.adapters.router_nginx.drafts import Draft, Drafts
from octo.adapters.router_nginx.master import Master, Refused
from octo.adapters.router_nginx.own import At
from octo.adapters.router_nginx.render import Renderer
from octo.adapters.router_nginx.trees import MARKER, Tree, Trees
from octo.errors import RouterFailed

log = logging.getLogger(__name__)

_PLACE = re.compile(r" in \S*/containers/([a-z][a-z0-9-]*)\.conf:([0-9]+)$")
_CLUTTER = re.compile(r"^[0-9/]+ [0-9:]+ (\[[a-z]+\] )[0-9#]+: ")  # when, and which process
_MOST_REFUSED = 1000


class Candidates:
    def __init__(self, trees: Trees, master: Master, renderer: Renderer, drafts: Drafts) -> None:
        self._trees, self._master, self._renderer, self._drafts = trees, master, renderer, drafts
        self.refused: dict[tuple[str, str], str] = {}  # App.id and text of blocks, and what is wrong with them

    def tested(self, draft: Draft, before: Tree | None) -> tuple[Draft, Tree]:
        """Write a tree that nginx takes; nothing points to it yet. Raises RouterFailed when no app is to blame."""
        try:
            return draft, self._written(draft)
        except Refused:
            if not draft.own:
                raise
        self._try(draft.only(()))
        draft = self._without_culprits(draft, before)
        return draft, self._written(draft)

    def _without_culprits(self, draft: Draft, before: Tree | None) -> Draft:
        """Let one app's block in after the other, first those that served until now."""
        kept = _unchanged(draft, before)
        try:
            self._try(draft.only(kept))
        except Refused:
            kept = frozenset()
        good = set(kept)
        for app in sorted(draft.own.keys() - kept):
            try:
                self._try(draft.only({*good, app}))
                good.add(app)
            except Refused as error:
                draft, saved = self._demoted(draft, app, error, good, before)
                good |= {app} if saved else set()
        return draft.only(good)

    def _demoted(
        self, draft: Draft, app: str, error: Refused, good: set[str], before: Tree | None
    ) -> tuple[Draft, bool]:
        """Put the app on what was good last; False when there is nothing that nginx takes."""
        why = self._blame(draft, app, error)
        self._note(app, draft.own[app].text, why)
        draft = draft.with_fault(app, why)
        last = self._drafts.last_good(draft, draft.route(app), before)
        if last is None or last.text == draft.own[app].text:
            return draft, False
        draft = draft.with_own(app, last)
        try:
            self._try(draft.only({*good, app}))
        except Refused:
            return draft, False
        return draft, True

    def _blame(self, draft: Draft, app: str, error: Refused) -> str:
        """nginx's own words, and the template's line where it can be told."""
        route, own = draft.route(app), draft.own[app]
        place = _PLACE.search(error.said)
        line = self._drafts.line(draft, app, int(place[2])) if place and place[1] == route.app else 0
        said = _CLUTTER.sub(r"\1", re.sub(r" in \S*/(containers/)", r" in \1", error.said))
        return At(route, line, own.source, f"nginx says: {said}").message

    def _note(self, app: str, text: str, why: str) -> None:
        log.error("%s", why)
        if len(self.refused) >= _MOST_REFUSED:
            self.refused.clear()
        self.refused[app, text] = why

    def _try(self, draft: Draft) -> None:
        self._trees.remove(self._written(draft))

    def _written(self, draft: Draft) -> Tree:
        tree = self.write(self._drafts.files(draft))
        try:
            self._master.test(tree.path)
        except RouterFailed:
            self._trees.remove(tree)
            raise
        return tree

    def write(self, files: Mapping[str, bytes]) -> Tree:
        generation = self._trees.next_generation()
        try:
            return self._trees.write(generation, {**files, MARKER: self._renderer.marker(generation)})
        except OSError as error:
            raise RouterFailed(f"cannot write nginx's configuration: {error.strerror}") from None


def _unchanged(draft: Draft, before: Tree | None) -> frozenset[str]:
    if before is None:
        return frozenset()
    return frozenset(
        id for id, own in draft.own.items() if before.text(f"containers/{draft.route(id).app}.conf") == own.text
    )
