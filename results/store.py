"""Result files: load, validate, write atomically. The one place that knows results.json as a file.

The format is Google Benchmark's JSON with heaparena's own context and counters; results/schema.json defines
it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import jsonschema

SCHEMA_VERSION = 1
SCHEMA_PATH = Path(__file__).with_name("schema.json")
FILE_NAME = "results.json"

Json = dict[str, Any]


class BadResults(Exception):
    """A result file that cannot be used; the message is one line: file, where, what."""


@functools.lru_cache(maxsize=1)
def _validator() -> Any:
    return jsonschema.Draft7Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def _no_constants(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def result_path(path: str | Path) -> Path:
    """PATH itself, or PATH/results.json if PATH is a folder."""
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def _where(error: Any) -> str:
    place = ""
    for part in error.absolute_path:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return place.lstrip(".") or "top level"


def validate(data: Any, name: str) -> Json:
    """Returns `data` if it is a result file of this schema; raises BadResults with the first fault."""
    context = data.get("context") if isinstance(data, dict) else None
    ours = context.get("heaparena") if isinstance(context, dict) else None
    if not isinstance(ours, dict):
        raise BadResults(f"{name}: context.heaparena is missing: not a result file of heaparena")
    if ours.get("schema") != SCHEMA_VERSION:
        raise BadResults(
            f"{name}: context.heaparena.schema: version {ours.get('schema')!r} is not the version "
            f"{SCHEMA_VERSION} that this heaparena reads; use the heaparena that wrote the file"
        )
    fault = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if fault is not None:
        message = fault.message if len(fault.message) < 200 else fault.message[:200] + "..."
        raise BadResults(f"{name}: {_where(fault)}: {message}")
    result: Json = data
    return result


def load(path: str | Path) -> Json:
    """The validated content of a result file or of the folder that holds it."""
    file = result_path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = (
            f"`heaparena run --out {path}` writes one there"
            if file != Path(path)
            else "`heaparena results list` names the runs there are, `heaparena run` makes one"
        )
        raise BadResults(f"{file}: no such file; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadResults(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        data = json.loads(text, parse_constant=_no_constants)
    except json.JSONDecodeError as error:
        what = "the file is empty" if not text.strip() else f"not JSON: {error.msg}"
        raise BadResults(
            f"{file}: line {error.lineno}: {what}; the file was cut off or is no result file"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadResults(f"{file}: {error}") from None
    return validate(data, str(file))


def row_of(entry: Json) -> str:
    """The row of an entry: its name without pass and allocator."""
    row: str = entry["run_name"]
    return row.removesuffix(f"/pass:{entry.get('pass')}").removesuffix("/" + entry["allocator"])


def write_atomically(path: Path, text: str) -> None:
    """Writes beside `path` and renames, so that a reader sees the old file or the new one, never a part."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:  # people know the name that they gave
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        os.fchmod(handle, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # a Ctrl-C may come just after it was renamed
            os.unlink(temporary)
        raise


def add_extra(path: Path, section: str, data: Json) -> None:
    """Puts what a command measured for a section of the report into a written result file."""
    results = load(path)
    results["context"]["heaparena"].setdefault("extra", {})[section] = data
    save(result_path(path), validate(results, str(path)))


def save(path: Path, data: Json) -> None:
    """Writes a result file, one benchmark entry a line."""
    context = json.dumps(data["context"], indent=2, allow_nan=False)
    entries = ",\n".join("    " + json.dumps(entry, allow_nan=False) for entry in data["benchmarks"])
    indented = context.replace("\n", "\n  ")
    write_atomically(path, f'{{\n  "context": {indented},\n  "benchmarks": [\n{entries}\n  ]\n}}\n')
