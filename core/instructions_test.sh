#!/bin/sh
# Counts the instructions of the hot paths with callgrind and holds them against instructions.golden, so that a change
# which fattens them shows. A path is run twice, the second time with more operations, and the difference divided, so
# that the start of the program does not count. A path with a third word is held against the path of that
# name too, which stands before it: the same work in a larger heap must not cost more.
# Usage: instructions_test.sh PROGRAM GOLDEN [--print]
# Exit status: 0 fine, 1 too many, 77 there is no valgrind.
set -eu
program=$1
golden=$2
command -v valgrind >/dev/null || exit 77

instructions() { # PATH COUNT
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
    sed -n 's/.*Collected : *//p'
}

status=0
counted=
while read -r path most smaller; do
  case $path in '' | '#'*) continue ;; esac
  few=$(instructions "$path" 20000)
  many=$(instructions "$path" 120000)
  each=$(((many - few) / 100000))
  [ "${3:-}" = --print ] || echo "$path: $each instructions, golden figure $most"
  [ "${3:-}" != --print ] || echo "$path $each${smaller:+ $smaller}"
  counted="$counted $path=$each"
  # A tenth above the golden figure is a failure; below it, the golden figure may be lowered.
  if [ $((each * 10)) -gt $((most * 11)) ]; then
    echo "$path: too many" >&2
    status=1
  fi
  [ -n "$smaller" ] || continue
  before=$(echo "$counted" | tr ' ' '\n' | sed -n "s/^$smaller=//p")
  if [ $((each * 10)) -gt $((before * 11)) ]; then
    echo "$path: too many over $smaller, $before" >&2
    status=1
  fi
done <"$golden"
exit $status
