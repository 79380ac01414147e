"""cli: the subcommands of scripts/heaparena. They start programs; what they measured goes to results/."""
