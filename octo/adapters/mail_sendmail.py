"""Mail by the program that every mail server brings: sendmail, which reads a message on its input."""

import logging
import socket
from collections.abc import Callable
from email.message import EmailMessage

from octo import process
from octo.errors import OctoError
from octo.model import App

SECONDS = 30.0

log = logging.getLogger(__name__)


class SendMail:
    """to: an address; "" sends none. later: runs what it is given in a thread of its own."""

    def __init__(self, to: str, program: str, later: Callable[[Callable[[], object]], None]) -> None:
        self._to, self._program, self._later = to, program, later

    def failed(self, app: App, why: str) -> None:
        """Tell the operator that a deploy failed, in octohost's words. Never raises: what fails is logged."""
        if not self._to:
            return
        message = EmailMessage()
        message["To"] = self._to
        message["Subject"] = f"{app.name} failed to launch on {socket.gethostname()}"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer, please
        message.set_content(f"{why}\n\nWhat served before goes on serving. See: octo releases -a {app.name}\n")
        self._later(lambda: self._send(message.as_bytes()))

    def _send(self, message: bytes) -> None:
        try:
            done = process.run([self._program, "-t", "-oi"], input=message, timeout=SECONDS)
        except OctoError as error:
            log.error("cannot send mail: %s", error.message)
            return
        if done.code:
            log.error("cannot send mail: %s ended with %d", self._program, done.code)
