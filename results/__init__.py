"""results: what heaparena wrote down, and how it is compared. Reads JSON only; starts no programs."""
