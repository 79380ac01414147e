#!/bin/bash
# Runs build.sh in the environment that OSS-Fuzz gives it, and starts every target for a moment. Arguments: none; needs clang.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CC="${CC:-clang}" CXX="${CXX:-clang++}" OUT="$work/out" WORK="$work" SANITIZER=address FUZZING_ENGINE=libfuzzer
export CFLAGS="-O1 -fno-omit-frame-pointer -gline-tables-only -fsanitize=address -fsanitize-address-use-after-scope -fsanitize=fuzzer-no-link"
export CXXFLAGS="$CFLAGS" LIB_FUZZING_ENGINE="-fsanitize=fuzzer"
unset SRC
bash "$here/build.sh"
targets=0
for target in "$OUT"/*_fuzz; do
  name=$(basename "$target")
  mkdir "$work/corpus-$name"
  if [ -f "${target}_seed_corpus.zip" ]; then
    /usr/bin/python3 -m zipfile -e "${target}_seed_corpus.zip" "$work/corpus-$name"
  fi
  dictionary=()
  [ ! -f "$target.dict" ] || dictionary=("-dict=$target.dict")
  (cd "$work" && "$target" -runs=300 -max_total_time=10 "${dictionary[@]}" "corpus-$name") >"$work/log" 2>&1 || {
    tail -n 30 "$work/log"
    echo "$name failed" >&2
    exit 1
  }
  targets=$((targets + 1))
done
echo "$targets targets built and started"
[ "$targets" -ge 8 ]
