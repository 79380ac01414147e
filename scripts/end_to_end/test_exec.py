"""heaparena exec from the outside: real programs under real allocators, programs that misbehave, refusals."""

import fcntl
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import BUILD, ROOT, Command, load, refused

TWO = ("--allocators", "system,jemalloc", "--plain")
SCRIPT = """
create table t(a integer primary key, b text);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 3000)
  insert into t select x, 'name ' || (x * 7919 % 1000) from n;
select count(distinct b), sum(length(b)) from t;
"""
# Tells whose malloc it calls, and does what its first argument says if that is jemalloc's.
TELLTALE = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
  Dl_info info;
  void *block = malloc(count * 100);
  dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info);
  int theirs = strstr(info.dli_fname, "jemalloc") != NULL;
  if (theirs && strcmp(words[1], "crash") == 0) { fputs("last words\\n", stderr); abort(); }
  if (theirs && strcmp(words[1], "status") == 0) return 7;
  puts(theirs && strcmp(words[1], "print") == 0 ? "another line" : "a line");
  if (strcmp(words[1], "three") == 0) return 3;
  if (strcmp(words[1], "clock") == 0) printf("%p %d\\n", block, (int)getpid());
  return 0;
}
"""
OWN_MALLOC = """
#include <stddef.h>
static char pool[1 << 26];
static size_t used;
void *malloc(size_t size) { used += (size + 15) & ~15ul; return pool + used; }
void free(void *block) { (void)block; }
void *calloc(size_t n, size_t size) { return malloc(n * size); }
void *realloc(void *block, size_t size) { (void)block; return malloc(size); }
int main(void) { return malloc(3) == 0; }
"""
OWN_MEMORY = """
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
int main(void) {
  void *block = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(block, 1, 64 << 20);
  return malloc(10) == 0;
}
"""
SERVER = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.bind(sys.argv[1])
    server.listen()
    kept = []
    while True:
        client, _ = server.accept()
        kept.append(bytearray(16 << 20))
        client.sendall(b"%d" % len(kept))
        client.close()
"""
CLIENT = """
import socket, sys
for _ in range(3):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
        print(client.recv(10).decode())
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Compiles C text into a program."""

    def compile_program(text: str, *options: str) -> Path:
        (tmp_path / "program.c").write_text(text)
        path = tmp_path / "program"
        command = [
            "cc",
            "-D_GNU_SOURCE",
            "-w",
            "-O1",
            "-fno-builtin",
            "-o",
            str(path),
            str(tmp_path / "program.c"),
        ]
        subprocess.run([*command, *options], check=True)
        return path

    return compile_program


def launched(*words: object, result: Path) -> Any:
    """What heaparena-launch says of a command."""
    command = [str(BUILD / "bin" / "heaparena-launch"), "--result", str(result), *map(str, words)]
    subprocess.run(command, check=True)
    return json.loads(result.read_text())


def test_the_launcher_counts_what_the_kernel_counted(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    busy = launched("--", "/usr/bin/python3", "-c", "sum(range(4_000_000))", result=result)
    assert busy["status"] == 0 and busy["start_error"] == 0
    assert 0.02 < busy["user_seconds"] + busy["system_seconds"] <= busy["wall_seconds"] + 0.02
    small = launched("--", "/bin/true", result=result)
    assert 0 < small["peak_rss_bytes"] < 4 << 20 < busy["peak_rss_bytes"]  # nothing of ours is in it
    assert launched("--", "sh", "-c", "exit 5", result=result)["status"] == 5
    assert launched("--", "sh", "-c", "kill -SEGV $$", result=result)["status"] == -signal.SIGSEGV
    assert launched("--", "/no/such", result=result)["start_error"] == 2


def test_the_launcher_ends_what_goes_on(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    late = launched(
        "--timeout", 0.3, "--", "sh", "-c", "sleep 71 & setsid sleep 72 & sleep 73", result=result
    )
    assert late["timed_out"] and late["status"] == -signal.SIGKILL and late["left_behind"] == 3
    left = launched("--", "sh", "-c", "setsid sleep 74 & sleep 0.2", result=result)
    assert not left["timed_out"] and left["status"] == 0 and left["left_behind"] == 1
    assert subprocess.run(["pgrep", "-f", "sleep 7[1-4]$"], check=False).returncode == 1


def test_the_launcher_draws_memory_over_time(tmp_path: Path) -> None:
    text = "import time; time.sleep(.1); kept = bytearray(48 << 20); time.sleep(.1); del kept; time.sleep(.1)"
    points = launched("--interval", 5, "--", "/usr/bin/python3", "-c", text, result=tmp_path / "r")["points"]
    sizes = [rss for _, rss in points]
    assert len(points) > 20 and [ms for ms, _ in points] == sorted(ms for ms, _ in points)
    assert max(sizes) - sizes[-1] > 40 << 20 and max(sizes) - sizes[2] > 40 << 20


def test_a_program_with_its_input_on_our_stdin(heaparena: Command, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(SCRIPT)
    words = ("exec", *TWO, "--reps", 2, "--expect-output", "--rss-curve", "--out", tmp_path / "D")
    with open(tmp_path / "script") as script:
        done = heaparena(*words, "--", "sqlite3", ":memory:", stdin=script)
    assert done.returncode == 0, done.stderr
    results = load(tmp_path / "D")
    timed = [entry for entry in results["benchmarks"] if "pass" not in entry]
    assert {entry["allocator"] for entry in timed} == {"system", "jemalloc", "system~aa"} and len(timed) == 6
    for entry in timed:
        assert entry["workload"] == "sqlite3" and entry["exit_status"] == 0 and entry["output_bytes"] > 5
        assert entry["real_time"] > 0.5 and entry["memory_bytes"] > 1 << 20 and entry["minor_faults"] > 50
    curves = [entry for entry in results["benchmarks"] if entry.get("pass") == "timeline"]
    assert len(curves) == 3 and all(entry["detail"]["timeline"]["points"] for entry in curves)
    facts = results["context"]["heaparena"]["workloads"]["sqlite3"]
    assert "called malloc" in facts["explain"] and "printed" in facts["explain"]
    assert "heaparena exec" in (tmp_path / "D" / "report.md").read_text()
    assert "heaparena exec" in (tmp_path / "D" / "report.html").read_text()


@pytest.mark.parametrize(
    "what, options, said",
    [
        ("crash", (), "killed by SIGABRT (Aborted)\nlast words"),
        ("status", (), "exit status 7"),
        ("print", ("--expect-output",), "differs from the expected (7 bytes) at byte 1"),
    ],
)
def test_what_one_allocator_alone_does_is_a_finding(
    heaparena: Command, program: Callable[..., Path], tmp_path: Path, what: str, options: Any, said: str
) -> None:
    words = ("exec", *TWO, "--reps", 1, *options, "--out", tmp_path / "D", "--", program(TELLTALE), what)
    done = heaparena(*words, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stderr
    entries = {entry["allocator"]: entry for entry in load(tmp_path / "D")["benchmarks"]}
    assert said in entries["jemalloc"]["error_message"]
    assert not entries["system"].get("error_occurred") and not entries["system~aa"].get("error_occurred")
    assert said.splitlines()[0] in (tmp_path / "D" / "report.md").read_text()


def test_output_that_differs_is_a_warning_where_nobody_asked(
    heaparena: Command, program: Callable[..., Path], tmp_path: Path
) -> None:
    done = heaparena("exec", *TWO, "--reps", 2, "--out", tmp_path / "D", "--", program(TELLTALE), "print")
    assert done.returncode == 0, done.stderr
    assert "differs between allocators" in str(load(tmp_path / "D")["context"]["heaparena"]["warnings"])


def test_programs_that_cannot_be_compared_are_refused(
    heaparena: Command, program: Callable[..., Path], tmp_path: Path
) -> None:
    def refuse(*words: object, parts: tuple[str, ...]) -> None:
        done = heaparena("exec", *TWO, "--reps", 1, "--out", tmp_path / "D", *words, stdin=subprocess.DEVNULL)
        last = done.stderr.strip().splitlines()[-1:]
        done.stderr = "\n".join(last)
        refused(done, *parts)
        assert not (tmp_path / "D" / "results.json").exists()

    refuse("--", "nosuchprogram", parts=("no such program",))
    refuse(parts=("no program given",))
    refuse("--server", "sleep 1", parts=("--server needs --load",))
    refuse("--load", "true", "--", "true", parts=("go with --server",))
    telltale = program(TELLTALE)
    refuse(
        "--", telltale, "three", parts=("fails under the baseline system: exit status 3", "--exit-status 3")
    )
    refuse("--expect-output", "--", telltale, "clock", parts=("prints something else each time",))
    refuse("--prepare", "exit 4", "--", telltale, "x", parts=("--prepare", "exit status 4"))
    refuse("--", program(OWN_MALLOC, "-rdynamic"), parts=("has a malloc of its own",))
    refuse("--", program("int main(void) { return 0; }", "-static"), parts=("statically linked",))
    if os.geteuid() == 0:
        deaf = program("int main(void) { return 0; }")
        os.chown(deaf, 65534, -1)
        deaf.chmod(0o4755)
        refuse("--", deaf, parts=("ignores LD_PRELOAD", "set-user-ID"))


def test_memory_that_does_not_come_from_malloc_is_said(
    heaparena: Command, program: Callable[..., Path], tmp_path: Path
) -> None:
    done = heaparena("exec", *TWO, "--reps", 1, "--out", tmp_path / "D", "--", program(OWN_MEMORY))
    assert done.returncode == 0, done.stderr
    warnings = str(load(tmp_path / "D")["context"]["heaparena"]["warnings"])
    assert "most of its memory does not come from malloc" in warnings


def test_a_server_is_measured_under_its_load(heaparena: Command, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "client.py").write_text(CLIENT)
    socket = tmp_path / "s"
    words = (
        "exec",
        *TWO,
        "--reps",
        1,
        "--prepare",
        f"rm -f {socket}",
        "--expect-output",
        "--out",
        tmp_path / "D",
    )
    server = f"/usr/bin/python3 {tmp_path}/server.py {socket}"
    load_ = f"/usr/bin/python3 {tmp_path}/client.py {socket}"
    done = heaparena(*words, "--server", server, "--load", load_)
    assert done.returncode == 0, done.stderr
    entries = load(tmp_path / "D")["benchmarks"]
    assert len(entries) == 3 and all(entry["memory_bytes"] > 48 << 20 for entry in entries)
    assert all(entry["output_bytes"] == 6 for entry in entries)


def test_a_server_is_ready_when_the_user_says_so(heaparena: Command, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "client.py").write_text(CLIENT)
    socket = tmp_path / "s"
    (tmp_path / "ready.py").write_text(CLIENT.replace("range(3)", "range(1)"))
    python = "/usr/bin/python3"
    done = heaparena(
        *("exec", *TWO, "--reps", 1, "--prepare", f"rm -f {socket}", "--expect-output"),
        *("--out", tmp_path / "D", "--server", f"{python} {tmp_path}/server.py {socket}"),
        *("--ready", f"{python} {tmp_path}/ready.py {socket}"),
        *("--load", f"{python} {tmp_path}/client.py {socket}"),
    )
    assert done.returncode == 0, done.stderr
    # The server keeps 16 MiB for each client that came: the three of the load, and the one that asked first.
    assert all(entry["memory_bytes"] > 64 << 20 for entry in load(tmp_path / "D")["benchmarks"])


def test_a_name_a_cleanup_and_a_precision(
    heaparena: Command, program: Callable[..., Path], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    done = heaparena(
        *("exec", *TWO, "--name", "mine", "--until-precise", "--reps", 2, "--reps-max", 3),
        *("--cleanup", f"echo >> {runs}", "--out", tmp_path / "D", "--", program(TELLTALE), "x"),
    )
    assert done.returncode == 0, done.stderr
    context, entries = (load(tmp_path / "D")[key] for key in ("context", "benchmarks"))
    assert set(context["heaparena"]["workloads"]) == {"mine"}
    assert context["heaparena"]["precision"] == 0.02
    assert len(runs.read_text().splitlines()) >= len(entries)  # the first run under each is no sample


def test_ctrl_c_leaves_a_partial_result_and_resume_completes_it(heaparena: Command, tmp_path: Path) -> None:
    out = tmp_path / "D"
    words = ("exec", *TWO, "--out", str(out))
    command = [*words, "--reps", "12", "--", "sleep", "0.3"]
    process = subprocess.Popen(
        [str(ROOT / "scripts" / "heaparena"), *command],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    for _ in range(300):
        if (out / "results.json").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    context = load(out)["context"]["heaparena"]
    before = load(out)["benchmarks"]
    assert context["partial"] and 0 < len(before) < 36
    assert "another run is writing there" in _while_locked(heaparena, out)
    done = heaparena(*words, "--reps", 2, "--resume", "--", "sleep", "0.3", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    after = load(out)
    assert not after["context"]["heaparena"]["partial"] and after["benchmarks"][: len(before)] == before


@pytest.mark.parametrize(
    "kilobytes, blocks, said", [(70, 12, "results.json: cannot be written"), (200, 1, "the report cannot be")]
)
def test_a_full_disk_costs_no_sample_that_was_written(
    tmp_path: Path, kilobytes: int, blocks: int, said: str
) -> None:
    """A limit on the size of files stands for the disk: writing fails alike."""
    words = f"{' '.join(TWO)} --reps {blocks} --out {tmp_path}/D -- sleep 0.1"
    command = f"ulimit -f {kilobytes}; exec scripts/heaparena exec {words}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert load(tmp_path / "D")["benchmarks"]
    assert sorted(os.listdir(tmp_path / "D")) == [".lock", "results.json"]


def _while_locked(heaparena: Command, out: Path) -> str:
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = heaparena(
            "exec", *TWO, "--resume", "--out", out, "--", "sleep", "0.3", stdin=subprocess.DEVNULL
        )
    assert done.returncode == 2
    return done.stderr
