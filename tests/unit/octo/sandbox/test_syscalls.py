"""The list of system calls: what is in it, and that both formats say the same."""

import tomllib
from pathlib import Path

from octo.sandbox import syscalls

FILE = Path(__file__).resolve().parents[4] / "lxc" / "syscalls.toml"
GIVEN = tomllib.loads(FILE.read_text())
ALLOWED = set(" ".join(GIVEN["allow"]).split())
REFUSED = set(" ".join(GIVEN["refuse"]).split())
ABSENT = set(" ".join(GIVEN["absent"]).split())


def test_no_call_is_in_two_lists_or_twice_in_one() -> None:
    conditional = {rule["call"] for rule in GIVEN["when"]}
    lists = [ALLOWED, REFUSED, ABSENT, conditional]
    assert sum(map(len, lists)) == len(set.union(*lists))
    assert sum(len(" ".join(GIVEN[name]).split()) for name in ("allow", "refuse", "absent")) == sum(map(len, lists[:3]))


def test_what_reaches_the_kernels_weak_spots_is_not_allowed() -> None:
    weak = (
        "bpf io_uring_setup keyctl add_key userfaultfd perf_event_open mount unshare setns pivot_root chroot kexec_load"
    )
    assert set(weak.split()) <= REFUSED and "clone3" in ABSENT
    assert not ALLOWED & {"socket", "clone", "personality", "modify_ldt", "open_by_handle_at"}


def test_the_program_is_one_for_the_kernel() -> None:
    program = syscalls.compiled(FILE)
    assert len(program) % 8 == 0 and 100 < len(program) // 8 < 4096  # BPF_MAXINSNS


def test_dockers_form_has_every_call_and_condition() -> None:
    made = syscalls.for_docker(FILE)
    by_action = {(c["action"], c.get("errnoRet")): set(c["names"]) for c in made["syscalls"] if "args" not in c}
    assert by_action == {
        ("SCMP_ACT_ALLOW", None): ALLOWED,
        ("SCMP_ACT_ERRNO", 1): REFUSED,
        ("SCMP_ACT_ERRNO", 38): ABSENT,
    }
    clone = next(c for c in made["syscalls"] if c["names"] == ["clone"])
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert sum("args" in c for c in made["syscalls"]) == len(GIVEN["when"])
