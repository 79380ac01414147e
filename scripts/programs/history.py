"""Writes a made-up history of text files as a `git fast-import` stream, for scripts/bench to have git repack.

Usage: history.py [COMMITS] | git fast-import
"""

import random
import sys


def main() -> None:
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rng = random.Random(2026)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=rng.randrange(2, 11))) for _ in range(2000)]
    files = [
        [" ".join(rng.choices(vocabulary, k=9)) for _ in range(rng.randrange(20, 200))] for _ in range(40)
    ]
    out = sys.stdout
    for number in range(1, commits + 1):
        out.write(
            f"commit refs/heads/main\ncommitter heaparena <nobody@example.org> {1700000000 + number} +0000\n"
        )
        message = f"change {number}\n"
        out.write(f"data {len(message)}\n{message}")
        for index in rng.sample(range(len(files)), 4):
            lines = files[index]
            lines[rng.randrange(len(lines))] = " ".join(rng.choices(vocabulary, k=9))
            text = "\n".join(lines) + "\n"
            out.write(f"M 100644 inline dir{index % 5}/file{index}.txt\ndata {len(text)}\n{text}\n")


if __name__ == "__main__":
    main()
