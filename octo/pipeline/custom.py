"""The operator's own receiver in place of octo's build and deploy: octohost's contract."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from octo.errors import BuildFailed
from octo.pipeline.build import Order
from octo.pipeline.refs import short
from octo.ports import Console, Custom, Receipt

if TYPE_CHECKING:
    from octo.pipeline.receive import Push

OPERATOR = "operator"  # the user's name, of a push without a key


def receipt(push: "Push", commit: str) -> Receipt:
    """What the receiver is told. The branch with dashes for slashes, as octohost's gitreceive gave it."""
    branch = short(push.ref).replace("/", "-")
    return Receipt(f"{push.app.name}.git", commit, push.user or OPERATOR, push.fingerprint, branch)


def hand_over(custom: Custom, push: "Push", order: Order, files: Iterable[bytes], console: Console) -> None:
    """Give it the commit's files as a tar, and show what it says. Raises BuildFailed when it does not end with 0."""
    commit = order.source.commit
    code = custom.run(receipt(push, commit), files, console.formatted, order.cancelled)
    if code:
        console.detail(f"ERROR: failed on rev {commit} - push denied")
        raise BuildFailed(f"cannot take the push: the operator's receiver ended with exit code {code}")
