#!/bin/bash
# Installs the Debian package in a clean Debian root, runs it there, removes it, and looks for remains. As root; needs
# debootstrap and a Debian mirror; takes some minutes, most of them downloads.
#   scripts/packaging/check_package.sh PACKAGE.deb [FOLDER]    FOLDER of the root (default: a new one, removed at the end)
# MIRROR and SUITE choose another mirror and release; a root that is in FOLDER already is used again.
set -euo pipefail
if [ $# -lt 1 ] || [ ! -f "$1" ]; then
  echo "usage: $0 PACKAGE.deb [FOLDER]    (scripts/packaging/package.sh makes the package)" >&2
  exit 2
fi
if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
  echo "$0: needs root and debootstrap (apt-get install debootstrap)" >&2
  exit 2
fi
package=$(readlink -f "$1")
suite=${SUITE:-bookworm}
mirror=${MIRROR:-} # empty: debootstrap's own choice
kept=${2:-}
root=${kept:-$(mktemp -d)}
mkdir -p "$root"
root=$(readlink -f "$root")

# shellcheck disable=SC2317 # called by trap
leave() {
  for place in dev proc; do
    mountpoint -q "$root/$place" && umount "$root/$place"
  done
  [ -n "$kept" ] || rm -rf --one-file-system "$root"
}
trap leave EXIT

step() { printf '== %s\n' "$1"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
fail() { echo "FAILED: $1" >&2; exit 1; }

if [ ! -x "$root/usr/bin/apt-get" ]; then
  step "debootstrap $suite"
  debootstrap --variant=minbase "$suite" "$root" ${mirror:+"$mirror"} >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; fail "debootstrap"; }
  rm -f "$root.log"
fi
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
if compgen -G "/etc/apt/apt.conf.d/*proxy*" >/dev/null; then
  cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/"
fi

step "install"
cp "$package" "$root/root/heaparena.deb"
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends /root/heaparena.deb libjemalloc2 libmimalloc2.0 >"$root/root/install.log" 2>&1 ||
  { tail -n 20 "$root/root/install.log" >&2; fail "apt-get install"; }
inside dpkg -s heaparena | grep -E '^(Version|Status)'

step "run"
inside heaparena --version
inside heaparena list allocators
inside heaparena run --profile quick --plain --out /root/quick
for file in results.json report.html report.md; do
  [ -s "$root/root/quick/$file" ] || fail "no $file"
done

step "remove"
inside apt-get purge -y -qq heaparena >"$root/root/remove.log" 2>&1 || { tail -n 20 "$root/root/remove.log" >&2; fail "apt-get purge"; }
remains=$(find "$root" -xdev \( -path "$root/root" -o -path "$root/proc" -o -path "$root/var/log" \) -prune -o \
  \( -iname '*heaparena*' -o -iname '*gomalloc*' \) -print)
[ -z "$remains" ] || fail "remains: $remains"
grep -qi heaparena "$root/etc/ld.so.cache" && fail "ldconfig still knows a library"
step "ok: installed, ran the quick profile, left nothing behind"
