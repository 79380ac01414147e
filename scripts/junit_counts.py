"""junit_counts.py FILE: prints "passed failed skipped" of a JUnit file, for scripts/test. Exit 1 if it has
no test."""

import sys
import xml.etree.ElementTree as ElementTree


def counts(path: str) -> tuple[int, int, int]:
    """Passed, failed and skipped test cases of the JUnit file at path."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed += 1
        elif "skipped" in kinds or case.get("status") in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main() -> int:
    try:
        result = counts(sys.argv[1])
    except (OSError, ElementTree.ParseError, IndexError) as error:
        print(f"junit_counts: {error}", file=sys.stderr)
        return 1
    print(*result)
    return 0 if sum(result) else 1


if __name__ == "__main__":
    sys.exit(main())
