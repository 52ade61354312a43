#!/bin/sh
# Packs a release: dev/release.sh VERSION TARGET, after `cargo build --release --locked --bin meno`.
# Leaves target/release-archives/meno-VERSION-TARGET.tar.gz with the binary, its man pages, shell completions and
# licences, and its SHA-256 sum beside it. Fails if the binary says another version.
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: dev/release.sh VERSION TARGET} target=${2:?usage: dev/release.sh VERSION TARGET}
meno=target/release/meno
"$meno" --version | head -n 1 | grep -q "^meno $version" || { echo "$meno is not version $version" >&2; exit 1; }

name=meno-$version-$target
archives=target/release-archives
rm -rf "$archives/$name"
mkdir -p "$archives/$name/completions"
cp "$meno" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$archives/$name"
"$meno" man --out "$archives/$name/man"
for shell in bash zsh fish; do "$meno" completions "$shell" > "$archives/$name/completions/meno.$shell"; done
cd "$archives"
tar -czf "$name.tar.gz" "$name"
rm -r "$name"
(sha256sum "$name.tar.gz" 2>/dev/null || shasum -a 256 "$name.tar.gz") > "$name.tar.gz.sha256"
echo "$archives/$name.tar.gz"
