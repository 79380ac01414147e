"""Whether a process or one of its descendants listens on a socket, read from /proc."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterator

TCP_LISTEN = "0A"
UNIX_ACCEPTS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix
SOCKET = re.compile(r"socket:\[(\d+)\]")


def any_of_tree(root: int) -> bool:
    for process in tree(root):
        sockets = _sockets(process)
        if sockets & _accepting(process):
            return True
    return False


def tree(root: int) -> Iterator[int]:
    """The process and all that descend from it."""
    yield root
    try:
        for children in Path(f"/proc/{root}/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                yield from tree(int(child))
    except OSError:
        return  # it ended meanwhile


def _sockets(process: int) -> set[str]:
    """Inodes of the sockets it has open."""
    found: set[str] = set()
    try:
        for entry in os.scandir(f"/proc/{process}/fd"):
            match = SOCKET.fullmatch(os.readlink(entry.path))
            if match:
                found.add(match.group(1))
    except OSError:
        pass
    return found


def _accepting(process: int) -> set[str]:
    """Inodes of all sockets that listen in the process's network namespace."""
    found: set[str] = set()
    for table, state, inode in (("tcp", 3, 9), ("tcp6", 3, 9), ("unix", 3, 6)):
        try:
            lines = Path(f"/proc/{process}/net/{table}").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in lines.splitlines()[1:]:
            words = line.split()
            if table == "unix" and len(words) > inode and int(words[state], 16) & UNIX_ACCEPTS:
                found.add(words[inode])
            elif table != "unix" and len(words) > inode and words[state] == TCP_LISTEN:
                found.add(words[inode])
    return found
