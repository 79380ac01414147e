#!/bin/sh
# Programs that know nothing of gomalloc do the same work with and without LD_PRELOAD=libgomalloc.so, and must say the same.
#   preload_programs_test.sh LIBRARY COMPILER SCRATCH_FOLDER
# Programs that are not installed are left out. The environment's GOMALLOC_LAYOUT applies.
set -eu
library=$1
compiler=$2
scratch=$3
mkdir -p "$scratch"
cd "$scratch"

# same NAME COMMAND...: standard output, files aside, is compared.
same() {
  name=$1
  shift
  command -v "$1" >/dev/null || { echo "$1 is not installed: $name left out"; return; }
  "$@" >"$name.plain" 2>&1
  LD_PRELOAD=$library "$@" >"$name.preload" 2>&1
  cmp "$name.plain" "$name.preload"
  echo "$name: the same"
}

cat >work.py <<'END'
import json, pickle, threading
data = {str(i): [i, i * 0.5, "text " * (i % 40), {"bytes": bytes(range(i % 256)).hex()}] for i in range(3000)}
assert json.loads(json.dumps(data)) == data
assert pickle.loads(pickle.dumps(data)) == data
totals = []
def work(seed):
    made = [bytearray(seed * 100 + i % 5000) for i in range(2000)]
    totals.append(sum(map(len, made)))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(json.dumps(data)), sorted(totals))
END
same python /usr/bin/python3 work.py
PYTHONMALLOC=malloc
export PYTHONMALLOC
same python_malloc /usr/bin/python3 work.py

cat >work.sql <<'END'
CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 30000)
  INSERT INTO t SELECT x, (x * 2654435761) % 10007, hex(x) || '-string-' || x FROM c;
CREATE INDEX tk ON t(k);
SELECT k % 97, count(*), max(s) FROM t GROUP BY k % 97 ORDER BY 2 DESC, 1 LIMIT 5;
PRAGMA integrity_check;
END
same sqlite sqlite3 :memory: ".read work.sql"

cat >work.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { struct node *left, *right; int key; };
static struct node *insert(struct node *n, int key) {
  if (!n) { n = calloc(1, sizeof *n); n->key = key; return n; }
  if (key < n->key) n->left = insert(n->left, key); else n->right = insert(n->right, key);
  return n;
}
int main(void) { struct node *root = 0; for (int i = 0; i < 1000; i++) root = insert(root, i * 7919 % 1009); return !root; }
END
same compiler "$compiler" -O2 -S -o - work.c
