"""How many files a Dockerfile may make: neither the disk of all builds nor the host's own runs out of them."""

import pytest

from octo.buildengine.engine import BuildEngine
from octo.errors import BuildFailed
from tests.contract.docker_parts import tar
from tests.contract.engine_parts import FROM, Bench, Files

MANY = b"for n in range(100000): open(f'/many/{n}', 'w').close()\n"


@pytest.mark.row("C4")
def test_who_makes_too_many_files_is_ended_and_told(bench: Bench) -> None:
    files: Files = {"Dockerfile": (FROM + "COPY m /\nRUN mkdir /many; python3 /m; sleep 60\n").encode(), "m": MANY}
    with pytest.raises(BuildFailed, match="made more than 3000 files and folders, the limit") as caught:
        bench.build(files, entries=3000)
    assert "octo limits:set APP files=" in caught.value.hint


@pytest.mark.row("C4")
def test_an_archive_of_too_many_files_does_not_reach_the_hosts_disk(bench: Bench, engine: BuildEngine) -> None:
    """The engine itself unpacks it: no process of the build makes a file."""
    bomb = tar({f"{number}/x": b"" for number in range(2000)})
    before = engine.room()[1]
    files: Files = {"Dockerfile": (FROM + "ADD bomb.tar /many/\n").encode(), "bomb.tar": bomb}
    with pytest.raises(BuildFailed, match="made more than 3000 files and folders, the limit"):
        bench.build(files, entries=3000)
    assert before - engine.room()[1] < 3000
    bench.build(files, entries=9000)
