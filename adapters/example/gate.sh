#!/bin/bash
# A gate for pull requests to an allocator: builds BASE and NEW, measures both, and fails if NEW takes more instructions,
# memory or time. In CI, BASE is a checkout of the main branch (git worktree add ../base origin/main), NEW the one in hand.
#   gate.sh BASE NEW OUT
# BASE and NEW are source folders with a CMakeLists.txt that builds one lib*.so; OUT gets the builds and the results.
#
# Settings, by environment:
#   INSTRUCTIONS=1% MEMORY=5% TIME=10%   how much worse a whole 95 % interval may be; "off" leaves a metric out.
#                                        Instructions repeat nearly exactly, also on shared machines; times do not
#   WORKLOADS=churn,...  SCALE=0.1  ROUNDS=3  REPS=3   what, how much of it, and how often: ROUNDS times REPS samples of each,
#                                        BASE and NEW in turn, so that a slow minute hits both
#   BASE_OPTIONS NEW_OPTIONS             further words for cmake
# Exit status: 0 good, 1 worse (or a workload fails in NEW only), 2 something could not be built or measured.
set -euo pipefail
if [ $# -ne 3 ]; then
  echo "usage: gate.sh BASE NEW OUT" >&2
  exit 2
fi
out=$3
workloads=${WORKLOADS:-churn,strings,larson,frag-sawtooth}
rounds=${ROUNDS:-3}
reps=${REPS:-3}
mkdir -p "$out"

build() { # SIDE SOURCE [OPTION...]
  local side=$1 source=$2
  shift 2
  if ! { cmake -S "$source" -B "$out/build-$side" -D CMAKE_BUILD_TYPE=Release "$@" &&
    cmake --build "$out/build-$side"; } >"$out/build-$side.log" 2>&1; then
    tail -n 20 "$out/build-$side.log" >&2
    echo "gate: $side cannot be built: $source" >&2
    exit 2
  fi
  local found=("$out/build-$side"/lib*.so)
  if [ ${#found[@]} -ne 1 ] || [ ! -e "${found[0]}" ]; then
    echo "gate: $side: there must be one lib*.so in $out/build-$side" >&2
    exit 2
  fi
}

# Takes the samples up to the given number of blocks; earlier ones are kept. Exit status 1 means that cells failed:
# compare says whether they fail in NEW only.
measure() { # SIDE BLOCKS PASSES
  local status=0
  heaparena run --allocators "candidate=$(readlink -f "$out/build-$1"/lib*.so)" --workloads "$workloads" --threads 1 \
    --scale "${SCALE:-0.1}" --reps "$2" --passes "$3" --out "$out/$1" --resume --plain >"$out/$1.log" 2>&1 || status=$?
  if [ "$status" -gt 1 ]; then
    tail -n 5 "$out/$1.log" >&2
    exit 2
  fi
}

# shellcheck disable=SC2086 # words are meant to be split
build base "$1" ${BASE_OPTIONS:-}
# shellcheck disable=SC2086
build new "$2" ${NEW_OPTIONS:-}
rm -rf "$out/base" "$out/new"
for ((round = 1; round <= rounds; round++)); do
  passes="time"
  [ "$round" -lt "$rounds" ] || [ "${INSTRUCTIONS:-1%}" = off ] || passes=time,instructions
  measure base $((round * reps)) "$passes"
  measure new $((round * reps)) "$passes"
done

verdict=0
gate() { # METRIC LIMIT
  [ "$2" != off ] || return 0
  printf '\n== %s, at most %s worse\n' "$1" "$2"
  local status=0
  heaparena compare "$out/base" "$out/new" --metric "$1" --fail-above "$2" || status=$?
  [ "$status" -le "$verdict" ] || verdict=$status
}
gate instructions "${INSTRUCTIONS:-1%}"
gate memory "${MEMORY:-5%}"
gate time "${TIME:-10%}"
exit "$verdict"
