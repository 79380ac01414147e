"""Facts about the machine that a result depends on, and warnings with what to do about them."""

from __future__ import annotations

import os
import platform
import re
import socket
from pathlib import Path
from typing import Any, Mapping

from cli import build, elf

Json = dict[str, Any]

CPU = Path("/sys/devices/system/cpu")
# Variables that change an allocator's behaviour behind the results' back.
TUNING = re.compile(
    r"MALLOC_|MIMALLOC_|JE_MALLOC|TCMALLOC_|TBB_MALLOC|SCUDO_OPTIONS|GLIBC_TUNABLES|GOMALLOC|LD_PRELOAD"
)


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _chosen(path: str) -> str | None:
    """The bracketed word of a setting such as `always [madvise] never`."""
    text = _read(path)
    match = re.search(r"\[(\w+)\]", text) if text else None
    return match.group(1) if match else text


def _cpu_field(name: str) -> str | None:
    match = re.search(rf"^{name}\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return match.group(1) if match else None


def _memory_bytes(field: str = "MemTotal") -> int:
    match = re.search(rf"^{field}:\s*(\d+)", _read("/proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _size_bytes(text: str) -> int:
    number = int(re.sub(r"\D", "", text) or 0)
    return number * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)


def caches() -> list[Json]:
    """The caches of the first CPU, as Google Benchmark lists them."""
    found = []
    for index in sorted((CPU / "cpu0" / "cache").glob("index*")):
        size, shared = _read(index / "size"), _read(index / "shared_cpu_list")
        if size:
            found.append(
                {
                    "type": _read(index / "type") or "",
                    "level": int(_read(index / "level") or 0),
                    "size": _size_bytes(size),
                    "num_sharing": len(_cpu_list(shared or "0")),
                }
            )
    return found


def _cpu_list(text: str) -> list[int]:
    """[0, 1, 2, 8] of "0-2,8"."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def cpus() -> int:
    """The CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def benchmark_context(date: str, executable: str) -> Json:
    """Google Benchmark's own context keys."""
    return {
        "date": date,
        "host_name": socket.gethostname(),
        "executable": executable,
        "num_cpus": cpus(),
        "mhz_per_cpu": round(float(_cpu_field("cpu MHz") or 0)),
        "cpu_scaling_enabled": _governor() not in (None, "performance"),
        "caches": caches(),
        "load_avg": list(os.getloadavg()),
        "library_build_type": "release",
    }


def _governor() -> str | None:
    return _read(CPU / "cpu0" / "cpufreq" / "scaling_governor")


def facts() -> Json:
    """What stays the same during a run: the machine's settings and our worker."""
    return {**settings(), "worker_build_id": elf.build_id(build.program("heaparena-worker"))}


def settings() -> Json:
    """The machine and how it is set."""
    nodes = [path.name for path in Path("/sys/devices/system/node").glob("node[0-9]*")]
    return {
        "cpu": _cpu_field("model name") or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "usable_cores": cpus(),
        "caches": [f"L{c['level']} {c['type']} {c['size'] >> 10} KiB" for c in caches()],
        "governor": _governor() or "not shown by the system",
        "thp": _chosen("/sys/kernel/mm/transparent_hugepage/enabled") or "unknown",
        "numa_nodes": len(nodes) or 1,
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "aslr": {"0": "off", "1": "partial", "2": "full"}.get(
            _read("/proc/sys/kernel/randomize_va_space") or "", "unknown"
        ),
        "memory_bytes": _memory_bytes(),
        "swap": (_read("/proc/swaps") or "").count("\n") > 0,
        "virtual": "hypervisor" in (_cpu_field("flags") or ""),
        "microcode": _cpu_field("microcode"),
        "frequency_range": _frequency_range(),
        "turbo": _turbo(),
        "smt": {"1": "on", "0": "off"}.get(_read(CPU / "smt" / "active") or "", None),
        "isolated_cpus": _read(CPU / "isolated") or None,
        "thp_defrag": _chosen("/sys/kernel/mm/transparent_hugepage/defrag"),
        "overcommit": {"0": "heuristic", "1": "always", "2": "never"}.get(
            _read("/proc/sys/vm/overcommit_memory") or ""
        ),
        "clock": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "cpu_limit": _cpu_limit(),
        "memory_limit": _memory_limit(),
        "available_bytes": _memory_bytes("MemAvailable"),
        "on_battery": _on_battery(),
    }


def _frequency_range() -> str | None:
    lowest, highest = (_read(CPU / "cpu0" / "cpufreq" / f"cpuinfo_{end}_freq") for end in ("min", "max"))
    return f"{int(lowest) // 1000} to {int(highest) // 1000} MHz" if lowest and highest else None


def _turbo() -> str | None:
    """Whether the CPU may run faster than its base frequency, which depends on heat and on its neighbours."""
    boost, no_turbo = _read(CPU / "cpufreq" / "boost"), _read(CPU / "intel_pstate" / "no_turbo")
    return "on" if boost == "1" or no_turbo == "0" else "off" if boost == "0" or no_turbo == "1" else None


def _cpu_limit() -> str | None:
    """How many CPUs' worth of time the control group may use, if it is limited."""
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        return f"{int(quota) / int(period):g} CPUs"
    return None


def _memory_limit() -> str | None:
    limit = _read("/sys/fs/cgroup/memory.max") or "max"
    return f"{int(limit) / 2**30:.1f} GiB" if limit.isdigit() else None


def _on_battery() -> bool:
    online = [_read(path) for path in Path("/sys/class/power_supply").glob("A*/online")]
    return bool(online) and "1" not in online


def moment() -> Json:
    """What changes during a run: load, and the CPU time (ticks) that a hypervisor took away, of all time."""
    fields = (_read("/proc/stat") or "cpu 0").splitlines()[0].split()[1:]
    ticks = [int(field) for field in fields]
    return {
        "load_avg": list(os.getloadavg()),
        "steal_ticks": ticks[7] if len(ticks) > 7 else 0,
        "total_ticks": sum(ticks[:8]),
    }


def steal_percent(before: Json, after: Json) -> float:
    total = after["total_ticks"] - before["total_ticks"]
    stolen: float = 100 * (after["steal_ticks"] - before["steal_ticks"]) / total if total > 0 else 0.0
    return round(stolen, 2)


def _warning(what: str, todo: str) -> Json:
    return {"what": what, "todo": todo}


def warnings(machine: Json, before: Json, environment: Mapping[str, str]) -> list[Json]:
    """What may spoil a run that is about to start."""
    found = []
    if before["load_avg"][0] > 0.3 * machine["usable_cores"]:
        found.append(
            _warning(
                f"the machine was busy at the start (load {before['load_avg'][0]:.1f} on "
                f"{machine['usable_cores']} CPUs)",
                "stop other programs and run again",
            )
        )
    if machine["governor"] not in ("performance", "not shown by the system"):
        found.append(
            _warning(
                f"the CPU frequency governor is {machine['governor']}",
                "sudo cpupower frequency-set -g performance",
            )
        )
    if machine["thp"] == "always":
        found.append(
            _warning(
                "transparent huge pages are 'always': memory figures of small programs grow",
                "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
            )
        )
    if machine["aslr"] == "off":
        found.append(
            _warning(
                "address-space randomisation is off: all samples have one memory layout",
                "sudo sysctl kernel.randomize_va_space=2",
            )
        )
    if machine["virtual"]:
        found.append(
            _warning(
                "this is a virtual machine: neighbours may disturb it",
                "watch the noise floor; prefer bare metal",
            )
        )
    found += _doubtful(machine)
    tuned = sorted(name for name in environment if TUNING.match(name))
    if tuned:
        found.append(
            _warning(
                f"set in your environment for every entry: {', '.join(tuned)}",
                "unset them, or give them to one entry with --env NAME:VAR=VALUE",
            )
        )
    return found


def _doubtful(machine: Json) -> list[Json]:
    """Settings under which a process's speed depends on more than itself."""
    found = []
    if machine.get("turbo") == "on":
        found.append(
            _warning(
                "turbo is on: the clock depends on heat and on other cores",
                "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo (or 0 to cpufreq/boost)",
            )
        )
    if machine.get("cpu_limit"):
        found.append(
            _warning(
                f"the container may use {machine['cpu_limit']}: it is stopped when that is used up",
                "lift the limit, or run outside the container",
            )
        )
    if machine.get("on_battery"):
        found.append(_warning("the machine runs on battery", "plug it in"))
    if 0 < machine.get("available_bytes", 0) < 1 << 30:
        found.append(
            _warning(
                f"only {machine['available_bytes'] >> 20} MiB of memory are available: samples may meet swap",
                "stop other programs and run again",
            )
        )
    return found


def warnings_after(steal: float, before: Json, after: Json, cores: int) -> list[Json]:
    """What spoiled a run that is over."""
    found = []
    if steal > 1:
        found.append(
            _warning(f"the hypervisor took {steal:g} % of the CPU time away", "run on a quieter host")
        )
    if after["load_avg"][0] > cores + 1 and after["load_avg"][0] > before["load_avg"][0] + 1:
        found.append(
            _warning(
                f"the load rose to {after['load_avg'][0]:.1f} during the run",
                "stop other programs and run again",
            )
        )
    return found
