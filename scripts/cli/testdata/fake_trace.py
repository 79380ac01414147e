#!/usr/bin/python3
"""Stands in for heaparena-trace in the tests of the command. A file with "bad" in its name is damaged,
for one with "full" there is no room."""

import json
import sys
from pathlib import Path

FACTS = {
    "operations": 12345,
    "objects": 6000,
    "threads": 2,
    "processes": 1,
    "live_bytes_peak": 1 << 20,
    "remote_frees": 3,
    "duration_ns": 10**9,
    "complete": True,
    "remarks": ["2 frees came late"],
}

if sys.argv[1] == "info":
    if "bad" in Path(sys.argv[2]).name:
        print(f"heaparena-trace: {sys.argv[2]}: offset 64: cut off; record it again", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(FACTS))
else:
    spool, output = Path(sys.argv[2]), Path(sys.argv[sys.argv.index("-o") + 1])
    assert spool.is_dir()
    if "full" in output.name:
        print(f"heaparena-trace: {output}: no space left on device; make room", file=sys.stderr)
        sys.exit(2)
    output.write_text("a trace\n", encoding="utf-8")
    meta = [sys.argv[at + 1] for at, word in enumerate(sys.argv) if word == "--meta"]
    print(json.dumps({**FACTS, "meta": meta}))
