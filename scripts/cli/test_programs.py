"""Real programs without a real build: what is made of the warm-up, of outputs, of ELF files; the doctor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import cmd_doctor, elf, listening, program_check, program_work, programs, real_program, witness
from cli import worker
from cli.conftest import Run
from cli.entries import Allocator
from cli.errors import UserError
from cli.program_work import ProgramSampler, ProgramWorkload, Taken, difference, runnable
from cli.real_program import Outcome

LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
WORK = ProgramWorkload("it", "it", "", "", {}, False, command=("it",))


def allocator(name: str, library: str | None = "/lib/libx.so", spec: str | None = None) -> Allocator:
    return Allocator(name, spec or name, library=library)


def test_what_is_preloaded() -> None:
    assert real_program.preload_of(allocator("system")) == ()
    assert real_program.preload_of(allocator("mimalloc")) == ("/lib/libx.so",)
    assert real_program.preload_of(allocator("mine", spec="mine=/lib/libx.so")) == ("/lib/libx.so",)
    with pytest.raises(UserError, match="is linked into heaparena's worker"):
        real_program.preload_of(allocator("null", None))
    with pytest.raises(UserError, match="its functions begin with 'je_'"):
        real_program.preload_of(allocator("mine", spec=f"mine={LIBC}:je_"))
    both = [allocator("null", None), allocator("system")]
    assert [entry.name for entry in runnable(both, wanted=False)] == ["system"]
    with pytest.raises(UserError):
        runnable(both, wanted=True)


def test_statuses_in_words() -> None:
    assert worker.status_words(3) == "exit status 3"
    assert worker.status_words(-11) == "killed by SIGSEGV (Segmentation fault)"
    assert Outcome("timeout: not ended within 1 s", -9).ended.startswith("timeout")


@pytest.mark.parametrize(
    "mine, theirs, said",
    [
        (b"one\ntwo\n", b"one\n2\n", "at byte 4: 'two\\n' instead of '2\\n'"),
        (b"one\n", b"one\ntwo\n", "(4 bytes) differs from the expected (8 bytes) at byte 4"),
        (b"", b"x", "at byte 0: '' instead of 'x'"),
    ],
)
def test_where_outputs_differ(mine: bytes, theirs: bytes, said: str) -> None:
    one, other = (Taken(Outcome(None, 0), 1.0, None, "", len(text), text) for text in (mine, theirs))
    assert said in difference(one, other)


def test_doubts_are_of_outputs_that_depend_on_the_allocator_alone() -> None:
    def entries(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
        return [{"workload": "it", "allocator": name, "output_sha256": text} for name, text in pairs]

    sampler = ProgramSampler(1.0, {}, {})
    assert sampler.doubts(entries(("a", "1"), ("a", "1"), ("b", "1"))) == []
    assert sampler.doubts(entries(("a", "1"), ("a", "2"), ("b", "3"))) == []  # the program's own doing
    assert len(sampler.doubts(entries(("a", "1"), ("a", "1"), ("b", "2"), ("b", "2")))) == 1


def saw(program: str = "/bin/it", following: str = "/lib/libx.so", size: int = 0) -> witness.Testimony:
    return witness.Testimony(program, "/w.so", following, 5, size)


def test_the_witness_is_read_and_judged(tmp_path: Path) -> None:
    image = witness.LAYOUT.pack(b"witness1", 7, 640, b"/bin/it", b"/w.so", b"/lib/libx.so")
    (tmp_path / "1-0").write_bytes(image)
    (tmp_path / "2-0").write_bytes(image[:100])  # cut off: its program died while it was made
    (tmp_path / "3-0").write_bytes(witness.LAYOUT.pack(b"witness1", 9, 9000, b"/bin/big", b"/bin/big", b""))
    found = witness.read(tmp_path)
    assert [one.program for one in found] == ["/bin/big", "/bin/it"] and witness.total(found) == (16, 9640)
    assert found[0].has_own_malloc(Path("/w.so")) and not found[1].has_own_malloc(Path("/w.so"))
    assert found[1].uses("/lib/libx.so") and not found[0].uses("/lib/libx.so")
    assert program_check._why_absent(allocator("mine"), [found[1]]) is None
    assert program_check._why_absent(allocator("system"), [found[0]]) is None
    assert program_check._why_absent(allocator("mine"), []) is None  # crashed before it could be seen
    assert "malloc is that of nobody" in str(program_check._why_absent(allocator("mine"), [found[0]]))


def test_memory_from_elsewhere_is_noticed() -> None:
    taken = Taken(Outcome(None, 0, peak_rss_bytes=100 << 20), 1.0, None)
    little, much = saw(size=10 << 20), saw(size=90 << 20)
    assert "asked malloc for 10.0 MiB only" in program_check._own_allocator(WORK, taken, [little])[0]["what"]
    assert program_check._own_allocator(WORK, taken, [much]) == []
    small = Taken(Outcome(None, 0, peak_rss_bytes=5 << 20), 1.0, None)
    assert program_check._own_allocator(WORK, small, [little]) == []
    python = saw("/usr/bin/python3.11", size=90 << 20)
    assert "PYTHONMALLOC=malloc" in program_check._own_allocator(WORK, taken, [python])[0]["todo"]


def test_a_program_that_ended_before_anybody_looked_has_a_curve() -> None:
    ended = Outcome(None, 0, wall_seconds=0.002, peak_rss_bytes=3 << 20)
    assert program_work._curve(ended)["points"] == [[2.0, 3 << 20]]


def test_what_elf_files_tell(tmp_path: Path) -> None:
    assert elf.machine(Path(LIBC)) == (2, 62) and elf.machine(Path(__file__)) is None
    arm = tmp_path / "arm"
    image = bytearray(Path(LIBC).read_bytes()[:64])
    struct.pack_into("<H", image, 18, 183)
    arm.write_bytes(image)
    assert elf.machine(arm) == (2, 183)
    go = tmp_path / "go"
    go.write_bytes(bytes(image) + b"\xff Go buildinf:")
    assert "Go program" in str(elf.own_allocator(go))
    assert elf.own_allocator(Path("/bin/true")) is None and elf.own_allocator(tmp_path / "none") is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize("listens", [True, False])
def test_a_listening_process_is_found(tmp_path: Path, family: socket.AddressFamily, listens: bool) -> None:
    """In a child of the process that is asked about. One that only connects does not listen."""
    with socket.socket(family) as ours:
        ours.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "ours"))
        ours.listen()
        theirs = ("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "theirs")
        does = f"s.bind({theirs!r}); s.listen()" if listens else f"s.connect({ours.getsockname()!r})"
        code = f"import socket, time; s = socket.socket({int(family)}); {does}; print(1, flush=True); "
        code += "time.sleep(60)"
        command = ["sh", "-c", '"$@"; true', "sh", "/usr/bin/python3", "-c", code]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None and process.stdout.readline() == b"1\n"
            try:
                assert listening.any_of_tree(process.pid) == listens
            finally:
                os.killpg(process.pid, signal.SIGKILL)


def test_the_program_set_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown program 'sqlit3'; did you mean sqlite3"):
        programs.chosen(["program:sqlit3"])
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name in ("lua5.4", "redis-cli") else which(name)
    )
    found, warnings = programs.available()
    assert {"lua", "redis"}.isdisjoint(program.name for program in found) and len(warnings) >= 2
    assert any("apt-get install lua5.4" in warning["todo"] for warning in warnings)
    with pytest.raises(UserError, match="apt-get install lua5.4"):
        programs.chosen(["program:lua"])


def test_run_refuses_what_programs_have_not(heaparena: Run) -> None:
    for words, said in (
        (("--workloads", "program:lua,churn"), "cannot stand in one run"),
        (("--profile", "programs", "--threads", "2"), "--threads means nothing"),
        (("--profile", "programs", "--passes", "latency"), "only time and timeline"),
        (("--workloads", "program:nosuch"), "unknown program"),
        (("--profile", "program"), "did you mean programs"),
    ):
        done = heaparena("run", *words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


# ---- the doctor ----

FACTS = {
    **{"cpu": "X", "usable_cores": 8, "kernel": "Linux", "governor": "performance", "thp": "madvise"},
    **{"aslr": "full", "virtual": False, "swap": False, "smt": "off", "memory_limit": None},
    **{"isolated_cpus": "2-7", "cpu_limit": None, "available_bytes": 1 << 34},
}
QUIET = {"load_avg": [0.0, 0.0, 0.0], "steal_ticks": 0, "total_ticks": 1}


@pytest.mark.parametrize(
    "changed, said, todo",
    [
        ({"governor": "powersave"}, "governor is powersave", "cpupower frequency-set -g performance"),
        ({"thp": "always"}, "huge pages are 'always'", "echo madvise"),
        ({"swap": True}, "swap is on", "swapoff -a"),
        ({"aslr": "off"}, "randomisation is off", "randomize_va_space=2"),
        ({"smt": "on"}, "hyper-threading is on", "smt/control"),
        ({"memory_limit": "1.0 GiB"}, "1.0 GiB of memory", "lift the limit"),
        ({"cpu_limit": "2 CPUs"}, "2 CPUs", "lift the limit"),
        ({"isolated_cpus": None}, "keeps no CPUs free", "isolcpus"),
    ],
)
def test_advice(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str, todo: str) -> None:
    monkeypatch.setattr(cmd_doctor, "_counters", lambda: [])
    monkeypatch.setattr(os, "environ", {})
    assert cmd_doctor.advice(FACTS, QUIET, 0.0) == []
    found = cmd_doctor.advice({**FACTS, **changed}, QUIET, 0.0)
    assert len(found) == 1 and said in found[0]["what"] and todo in found[0]["todo"]


def test_advice_on_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmd_doctor, "_counters", lambda: [])
    monkeypatch.setattr(os, "environ", {"MALLOC_ARENA_MAX": "1"})
    found = cmd_doctor.advice(FACTS, {**QUIET, "load_avg": [5.0, 1.0, 1.0]}, 4.5)
    texts = " ".join(one["what"] for one in found)
    assert "busy" in texts and "took 4.5 %" in texts and "MALLOC_ARENA_MAX" in texts


def test_the_doctor_fails_only_for_what_run_needs(heaparena: Run, fake_build: Path) -> None:
    done = heaparena("doctor", "--json")
    said = json.loads(done.stdout)
    missing = {check["name"] for check in said["checks"] if check["state"] == "missing"}
    assert missing == {
        "heaparena-launch",
        "libgomalloc.so",
        "libheaparena-witness.so",
    }  # the fake build lacks them
    assert done.returncode == said["exit_status"] == 1 and not said["ready"]
    assert all(check["todo"] for check in said["checks"] if check["state"] != "ok")
    (fake_build / "bin" / "heaparena-launch").symlink_to("/bin/true")
    for name in ("libgomalloc.so", "libheaparena-witness.so"):
        (fake_build / "lib" / name).symlink_to(LIBC)
    done = heaparena("doctor")
    assert done.returncode == 0 and "is there" in done.stdout and "libmissing.so" in done.stdout
    (fake_build / "bin" / "heaparena-worker").unlink()
    done = heaparena("doctor")
    assert done.returncode == 1 and "Missing for `heaparena run`: heaparena-worker" in done.stdout
