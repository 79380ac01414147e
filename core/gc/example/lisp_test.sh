#!/bin/sh
# The example's test: `lisp_test.sh LISP PROGRAM` compares each expression's value with the one behind "; =>", with cycles
# when they are due and with one every 50 allocations.
set -eu
lisp=$1
program=$2
expected=$(sed -n 's/.*; => //p' "$program")
for option in --stats --stress; do
  actual=$("$lisp" "$option" "$program" 2>/dev/null)
  if [ "$actual" != "$expected" ]; then
    echo "lisp $option: expected: $expected; got: $actual" >&2
    exit 1
  fi
done
# Garbage is collected: a loop that makes more of it than fits between two cycles.
cycles=$(echo "(define loop (lambda (n) (if (= n 0) n (loop (- n 1))))) (loop 300000)" | "$lisp" --stats 2>&1 >/dev/null |
  sed 's/.*bytes, \([0-9]*\) cycles.*/\1/')
[ "$cycles" -ge 2 ] || { echo "lisp: $cycles cycles" >&2; exit 1; }
status=0
echo "(car 5)" | "$lisp" >/dev/null 2>&1 || status=$?
[ "$status" -eq 1 ] || { echo "a wrong program: exit status $status" >&2; exit 1; }
status=0
"$lisp" --nonsense </dev/null >/dev/null 2>&1 || status=$?
[ "$status" -eq 2 ] || { echo "a wrong option: exit status $status" >&2; exit 1; }
