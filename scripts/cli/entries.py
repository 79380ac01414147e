"""What a run compares: allocator entries and workload entries, from the command line and the worker's
catalogue."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from cli import build, elf, files, worker
from cli.errors import UserError, unknown

Json = dict[str, Any]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CONTROL_SUFFIX = "~aa"
COLLECTOR = "collector"  # the trait


def split_list(values: Iterable[str] | None) -> list[str]:
    """["a", "b", "c"] of ["a,b", "c"], without empty and repeated ones."""
    found: dict[str, None] = {}
    for value in values or ():
        found.update((part.strip(), None) for part in value.split(",") if part.strip())
    return list(found)


@dataclass(frozen=True)
class Allocator:
    """One entry of a run: an allocator with its environment."""

    name: str
    spec: str
    environment: Mapping[str, str] = field(default_factory=dict)
    version: str = "unknown"
    library: str | None = None
    build_id: str | None = None
    traits: tuple[str, ...] = ()
    control_of: str | None = None

    @property
    def collects(self) -> bool:
        """Whether it is a collector: it runs mutator programs only."""
        return COLLECTOR in self.traits

    def identity(self) -> list[Any]:
        """What makes samples of this entry comparable with older ones of the same name."""
        return [self.spec, sorted(self.environment.items()), self.build_id]

    def facts(self) -> Json:
        return {
            "spec": self.spec,
            "version": self.version,
            "library": self.library,
            "build_id": self.build_id,
            "env": dict(self.environment),
            "traits": list(self.traits),
            "control_of": self.control_of,
        }

    def control(self) -> "Allocator":
        """The same allocator entered once more, for the noise floor."""
        return replace(self, name=self.name + CONTROL_SUFFIX, control_of=self.name)


def allocator_spec(text: str, known: Sequence[Json]) -> tuple[str, str]:
    """(name, spec for the worker) of one word of --allocators."""
    name, equals, target = text.partition("=")
    names = {entry["name"]: entry for entry in known}
    if not equals:
        if name not in names:
            raise unknown("allocator", name, names)
        if names[name]["why_not"]:
            package = names[name].get("package")
            todo = f"; apt-get install {package}" if package and package not in names[name]["why_not"] else ""
            raise UserError(f"allocator '{name}' is not available: {names[name]['why_not']}{todo}")
        return name, names[name].get("spec", name)
    if not NAME.fullmatch(name):
        raise UserError(f"--allocators {text}: '{name}' is no name; use letters, digits and _ . + -")
    path, colon, prefix = target.partition(":")
    if path in names and "/" not in path:  # a tuned variant: name=mimalloc with --env
        path = names[path]["library"] or ""
        if not path:
            raise UserError(f"--allocators {text}: {target} has no library file of its own; give a path")
    if not path:
        raise UserError(f"--allocators {text}: no path; give that of a shared library")
    files.readable(Path(path), f"--allocators {text}", "give the path of a shared library")
    if not elf.is_elf(Path(path)):
        raise UserError(f"--allocators {text}: {path} is not a shared library (no ELF file)")
    return name, f"{name}={os.path.abspath(path)}{colon}{prefix}"


def parse_environment(values: Iterable[str] | None, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """--env NAME:VAR=VALUE as {name: {variable: value}}."""
    found: dict[str, dict[str, str]] = {}
    for text in values or ():
        name, colon, setting = text.partition(":")
        variable, equals, value = setting.partition("=")
        if not colon or not equals or not VARIABLE.fullmatch(variable):
            raise UserError(f"--env {text}: not of the form NAME:VARIABLE=VALUE")
        if name not in names:
            raise unknown("allocator in --env", name, names)
        found.setdefault(name, {})[variable] = value
    return found


def allocators(
    wanted: Sequence[str],
    environment: Iterable[str] | None,
    known: Sequence[Json],
    collectors: bool = False,
) -> tuple[list[Allocator], list[str]]:
    """The probed entries (all available ones if none is wanted; of collectors only with `collectors`), and a
    line for each available one left out."""
    unusual = {"example"} if collectors else {"example", COLLECTOR}
    usual = [entry["name"] for entry in known if not entry["why_not"] and not unusual & set(entry["traits"])]
    chosen = wanted or usual
    specs = [allocator_spec(text, known) for text in chosen]
    names = [name for name, _ in specs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"allocator name '{name}' is given twice; give one of them another name: other=/path/lib.so"
            )
    settings = parse_environment(environment, names)
    found, left_out = [], []
    for name, spec in specs:
        try:
            found.append(_probed(name, spec, settings.get(name, {})))
        except UserError as error:
            if wanted:
                raise
            left_out.append(f"{name}: {error}")
    if not found:
        raise UserError("no allocator is available; see `heaparena list`")
    return found, left_out


def _probed(name: str, spec: str, settings: dict[str, str]) -> Allocator:
    answer = worker.probe(spec, settings)
    library = answer.get("library")
    image = Path(library) if library else build.program("heaparena-worker")
    return Allocator(
        name,
        spec,
        settings,
        str(answer.get("version") or "unknown"),
        library,
        elf.build_id(image),
        tuple(answer.get("traits") or ()),
    )


@dataclass(frozen=True)
class Workload:
    """One workload of a run with its parameters."""

    name: str  # as in results
    spec: str  # for the worker
    summary: str
    explain: str
    parameters: Mapping[str, str]
    scales: bool
    trace_sha256: str | None = None
    mutator: bool = False  # a mutator program: runs over collectors too

    def identity(self) -> list[Any]:
        return [self.trace_sha256 or self.spec, sorted(self.parameters.items())]

    def facts(self) -> Json:
        return {
            "spec": self.spec,
            "summary": self.summary,
            "explain": self.explain,
            "parameters": dict(self.parameters),
            "trace_sha256": self.trace_sha256,
        }


def _parameters(text: str, pairs: Sequence[str], entry: Json) -> dict[str, str]:
    """Checked key=value pairs; unknown keys and values that are not allowed are refused."""
    known = {parameter["name"]: parameter for parameter in entry["parameters"]}
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--workloads {text}: '{pair}' is not of the form key=value")
        if key not in known:
            raise unknown(f"parameter of workload '{entry['name']}'", key, known)
        if wrong := _refused(known[key], value):
            raise UserError(f"--workloads {text}: {key} must be {wrong}, not '{value}'")
        found[key] = value
    return found


def _refused(parameter: Json, value: str) -> str | None:
    """What a value of this parameter must be, if `value` is not that. A range with a fraction at its ends
    (0.01 to 1000.0) allows one in the value."""
    if words := parameter.get("words"):
        return None if value in words else f"one of {', '.join(words)}"
    least, most = parameter.get("least", 0), parameter.get("most", 0)
    whole = isinstance(least, int)
    number = re.fullmatch(r"[0-9]+" if whole else r"[0-9]+\.?[0-9]*", value)
    if not (least or most) or (number and least <= (int(value) if whole else float(value)) <= most):
        return None
    return f"a whole number from {least} to {most}" if whole else f"a number from {least:g} to {most:g}"


def _file_and_pairs(text: str, kind: str, maker: str) -> tuple[Path, list[str]]:
    """FILE and the key=value words behind it, of KIND:FILE[:key=value...]; file names may hold colons."""
    parts = text.removeprefix(f"{kind}:").split(":")
    pairs: list[str] = []
    while len(parts) > 1 and "=" in parts[-1]:
        pairs.insert(0, parts.pop())
    path = Path(":".join(parts))
    return files.readable(path, f"--workloads {text}", f"`{maker.format(path)}` makes one"), pairs


def _model(text: str, entry: Json) -> Workload:
    """A fitted model as a workload. The worker reads it in full; what is no model at all is refused now."""
    path, pairs = _file_and_pairs(text, "model", "heaparena trace fit TRACE -o {}")
    parameters = _parameters(text, pairs, entry)
    try:
        is_model = isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:
        is_model = False
    if not is_model:
        raise UserError(f"--workloads {text}: {path} is not a model; `heaparena trace fit` writes one")
    suffix = "".join(f":{pair}" for pair in pairs)
    return Workload(
        f"model:{path.stem}{suffix}",
        f"model:{path.absolute()}{suffix}",
        entry["summary"],
        str(entry.get("explain") or ""),
        parameters,
        False,
        _sha256(path),
    )


def _trace(text: str, entry: Json) -> Workload:
    """A trace as a workload; the trace tool reads it whole first, so that a damaged one is refused now."""
    path, pairs = _file_and_pairs(text, "trace", "heaparena record -o {} -- CMD")
    parameters = _parameters(text, pairs, entry)
    info = worker.trace_info(path)
    suffix = "".join(f":{pair}" for pair in pairs)
    command = "; ".join(info.get("meta", {}).get("command", []))
    summary = (
        f"a recorded program: {info.get('operations', 0):,} operations on {info.get('threads', 1)} thread(s)"
    )
    return Workload(
        "trace:" + path.name.removesuffix(".hat") + suffix,
        f"trace:{path.absolute()}{suffix}",
        summary,
        f"Recorded from: {command}" if command else str(entry.get("explain") or ""),
        parameters,
        False,
        _sha256(path),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _decades(text: str) -> list[str]:
    """NAME:key=A..B as one word for each of A, 10 A, 100 A, ... below B, and B; others as they are."""
    ranged = re.fullmatch(r"([^/]*=)(\d{1,15})\.\.(\d{1,15})((?::.*)?)", text)
    if not ranged:
        return [text]
    before, least, most, behind = ranged[1], int(ranged[2]), int(ranged[3]), ranged[4]
    if not 0 < least < most:
        raise UserError(f"--workloads {text}: {least}..{most} must rise from 1 or more")
    steps = [least * 10**power for power in range(16) if least * 10**power < most]
    return [word for value in [*steps, most] for word in _decades(f"{before}{value}{behind}")]


def ranges(wanted: Sequence[str]) -> list[str]:
    """Words of --workloads in which no range is left."""
    return [word for text in wanted for word in _decades(text)]


def workloads(wanted: Sequence[str], known: Sequence[Json]) -> list[Workload]:
    """The workloads of --workloads words: NAME, trace:FILE or model:FILE with [:key=value], or a FILE.hat."""
    by_name = {entry["name"]: entry for entry in known}
    found = []
    for text in wanted:
        name, *pairs = text.split(":")
        if name == "trace" or (name.endswith(".hat") and name not in by_name):
            found.append(_trace(text, by_name.get("trace", {"name": "trace", "parameters": []})))
            continue
        if name not in by_name:
            raise unknown("workload", name, [*by_name, "trace:FILE"])
        entry = by_name[name]
        if name == "model":
            found.append(_model(text, entry))
            continue
        parameters = _parameters(text, pairs, entry)
        found.append(
            Workload(
                text,
                text,
                entry["summary"],
                entry.get("explain", ""),
                parameters,
                bool(entry.get("scales")),
                mutator=bool(entry.get("mutator")),
            )
        )
    return _distinct(found)


def _distinct(found: list[Workload]) -> list[Workload]:
    """Traces of one basename are told apart by the start of their hash; the same trace twice counts once."""
    unique = list({(entry.name, entry.trace_sha256): entry for entry in found}.values())
    names = [entry.name for entry in unique]
    return [
        replace(entry, name=f"{entry.name}~{entry.trace_sha256[:8]}")
        if entry.trace_sha256 and names.count(entry.name) > 1
        else entry
        for entry in unique
    ]


def shipped_traces(names: Sequence[str] | None) -> list[str]:
    """Specs of the traces in workloads/traces with these names (those that are there), or of all of them."""
    files = sorted(build.TRACES.glob("*.hat"))
    return [f"trace:{path}" for path in files if names is None or path.stem in names]
