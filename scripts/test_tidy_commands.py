"""tidy_commands.py: every variant of the code is analysed, and none twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).with_name("tidy_commands.py")


def kept(folder: Path, commands: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is left of (file, options of the compiler)."""
    source = folder / "all.json"
    source.write_text(json.dumps([{"file": file, "command": f"cc {words} -c x"} for file, words in commands]))
    subprocess.run(["/usr/bin/python3", SCRIPT, source, folder], check=True)
    entries = json.loads((folder / "compile_commands.json").read_text())
    return [(entry["file"], entry["command"].split(" ", 1)[1].rpartition(" -c ")[0]) for entry in entries]


def test_each_variant_once(tmp_path: Path) -> None:
    commands = [
        ("a.c", "-O2"),
        ("a.c", "-O2 -fPIC -Dname_EXPORTS"),
        ("a.c", "-DLEVEL_TINY=0"),
        ("a.c", "-DGM_ASSERT_LEVEL=3"),
        ("a.c", "-UNDEBUG"),
        ("b.c", "-O2"),
    ]
    assert kept(tmp_path, commands) == [
        ("a.c", "-DGM_ASSERT_LEVEL=3"),
        ("a.c", "-DLEVEL_TINY=0"),
        ("a.c", "-UNDEBUG"),
        ("b.c", "-O2"),
    ]


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[{")
    for words in ([], [tmp_path / "none.json", tmp_path], [tmp_path / "bad.json", tmp_path]):
        command = ["/usr/bin/python3", SCRIPT, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
