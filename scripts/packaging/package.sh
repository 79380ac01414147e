#!/bin/bash
# Builds heaparena for /usr and makes a Debian package of it.
#   scripts/packaging/package.sh [FOLDER]    default: build/package; prints the package's path last
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/package}
cmake -S . -B "$build" -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_INSTALL_PREFIX=/usr >&2
cmake --build "$build" -j "$(nproc)" >&2
rm -f "$build"/heaparena_*.deb
(cd "$build" && cpack -G DEB >&2)
ls "$PWD/${build#"$PWD"/}"/heaparena_*.deb 2>/dev/null || ls "$build"/heaparena_*.deb
