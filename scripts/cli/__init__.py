"""cli: the subcommands of scripts/heaparena. They start programs; what they measured goes to results/."""

VERSION = "0.1.0"  # as in CMakeLists.txt; a test compares them
