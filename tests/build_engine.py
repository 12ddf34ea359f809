"""Where the suite keeps what takes long to make, for its runs to share: the stacks, the engine for Dockerfiles."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
STACKS = Path(os.environ.get("OCTO_STACKS") or CHECKOUT / ".octo" / "stacks")
# One for each worker: the network of an engine is that of the octo which started it, and goes with that.
ENGINE_FOLDER = STACKS.parent / f"test-engine-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
