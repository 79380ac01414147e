#!/bin/bash -eu
# Builds the libFuzzer targets as OSS-Fuzz wants them: with its compilers, flags and engine (CC, CXX, CFLAGS, CXXFLAGS,
# LIB_FUZZING_ENGINE), into $OUT, each beside its seeds (NAME_seed_corpus.zip), its dictionary and its options.
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
root=${SRC:-}/heaparena # where the Dockerfile puts the checkout; $SRC/build.sh is a copy of this file
[ -f "$root/fuzz/oss-fuzz/build.sh" ] || root=$(cd "$here/../.." && pwd)
: "${OUT:?set OUT to the folder that the targets go to}" "${LIB_FUZZING_ENGINE:?set it to -fsanitize=fuzzer, for example}"

targets=(ops threads oom options core trace import_text import_mtrace)
build=${WORK:-$(mktemp -d)}/heaparena-build
mkdir -p "$OUT" "$build"
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None -DHEAPARENA_FUZZ=ON -DHEAPARENA_WERROR=OFF \
  -DHEAPARENA_FUZZ_ENGINE="$LIB_FUZZING_ENGINE"
cmake --build "$build" -j "$(nproc)" --target "${targets[@]/%/_fuzz}"

for name in "${targets[@]}"; do
  cp "$build/bin/${name}_fuzz" "$OUT/"
  corpus=$root/fuzz/corpus/$name
  [ ! -d "$corpus" ] || (cd "$corpus" && python3 -m zipfile -c "$OUT/${name}_fuzz_seed_corpus.zip" ./*)
  dictionary=$root/fuzz/oss-fuzz/${name}_fuzz.dict
  [ ! -f "$dictionary" ] || cp "$dictionary" "$OUT/"
  printf '[libfuzzer]\nmax_len = 4096\nclose_fd_mask = %d\n' "$([ "$name" = options ] && echo 2 || echo 0)" >"$OUT/${name}_fuzz.options"
done
