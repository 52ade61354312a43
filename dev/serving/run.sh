#!/usr/bin/env bash
# Tries a running model with the published clients, unchanged, and prints which feature works with which:
#
#     dev/serving/run.sh MENO MODEL [DIR]
#
# MENO is the binary, MODEL what `meno serve -m` takes (qwen2.5-coder-0.5b-instruct-q4_k_m.gguf gave the table in
# docs/serving.md). The clients are installed into DIR (default: $HOME/.cache/meno/serving-clients), in the versions of
# requirements.txt and package.json, and kept there. Exit status 1 if a cell failed.
set -euo pipefail
meno=$1 model=$2
here=$(cd "$(dirname "$0")" && pwd)
dir=${3:-$HOME/.cache/meno/serving-clients}
mkdir -p "$dir"
if ! cmp -s "$here/requirements.txt" "$dir/requirements.txt"; then
  python3 -m venv "$dir/venv"
  "$dir/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$dir/"
fi
if ! cmp -s "$here/package.json" "$dir/package.json"; then
  cp "$here/package.json" "$dir/"
  (cd "$dir" && npm install --silent --no-audit --no-fund)
fi
cp "$here/clients.mjs" "$dir/"

log=$(mktemp)
"$meno" serve -m "$model" --port 0 --name local >"$log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -f "$log"' EXIT
url=
for _ in $(seq 600); do
  url=$(grep -oE 'https?://[0-9.:]+' "$log" | head -1 || true)
  [[ -n $url ]] && curl --silent --fail "$url/health" >/dev/null && break
  kill -0 $server 2>/dev/null || { cat "$log"; exit 2; }
  sleep 1
done

results=$(mktemp)
"$dir/venv/bin/python" "$here/clients.py" "$url" local >"$results"
node "$dir/clients.mjs" "$url" local >>"$results"
"$dir/venv/bin/python" "$here/harness.py" "$url" local >>"$results"
"$dir/venv/bin/python" "$here/matrix.py" "$results"
