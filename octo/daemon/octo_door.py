"""The kinds "octo" (a command line) and "key" (whose is this?), as the doors ask them."""

import logging

from octo.daemon.access import Access, Verb, require
from octo.daemon.audit import described
from octo.daemon.command import Commands
from octo.daemon.push import Call
from octo.errors import Usage

log = logging.getLogger(__name__)


class OctoDoor:
    def __init__(self, access: Access, commands: Commands) -> None:
        self._access, self._commands = access, commands

    def command(self, call: Call) -> str:
        """Run the words as the caller, by a token that lives as long as the command."""
        require(call.actor, Verb.READ)
        log.info("%s runs %s", call.actor.shown, described(call.words, self._access.is_app))
        if call.streams is None:
            raise Usage("cannot run a command without its streams")
        token = self._access.grant(call.actor)
        fds = [call.streams.stdin, call.streams.stdout, call.streams.stderr]
        fields = {**call.fields, "actor": call.actor.shown}
        try:
            return f"exit {self._commands.run(fields, call.words, fds, caller=call.caller, token=token)}"
        finally:
            self._access.revoke(token)

    def key(self, call: Call) -> str:
        """Whether the key is registered, and whose it is. `who` has looked it up already."""
        return f"yes {call.actor.user}" if call.actor.user else "no"
