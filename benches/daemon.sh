#!/usr/bin/env bash
# Figures of the daemon: size of the binary, idle memory and time until it is ready, on a folder with
# the demo's content. Takes the binary; by default the release build's.
set -euo pipefail
binary=${1:-target/release/dripctl}
work=$(mktemp -d "$(dirname "$binary")/figures.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
unset "${!DRIP_@}" 2>/dev/null || true
port=$((20000 + RANDOM % 20000))

echo "binary: $(stat -c %s "$binary") bytes"
"$binary" demo --once --data "$work/data" --listen 127.0.0.1:0 >"$work/demo.log" 2>&1 ||
  { tail -5 "$work/demo.log" >&2; exit 1; }
echo "folder: $(du -sb "$work/data" | cut -f1) bytes"

# Until the first 200 of /readyz, in milliseconds.
start() {
  local begun
  begun=$(date +%s%N)
  "$binary" serve --data "$work/data" --listen "127.0.0.1:$port" >"$work/serve.log" 2>&1 &
  pid=$!
  until [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz" || true)" = 200 ]; do
    kill -0 "$pid" 2>/dev/null || { tail -5 "$work/serve.log" >&2; exit 1; }
  done
  ready=$((($(date +%s%N) - begun) / 1000000))
}
stop() {
  kill "$pid"
  wait "$pid" || true
  pid=
}

times=()
for _ in 1 2 3 4 5; do
  start
  times+=("$ready")
  stop
done
echo "ready after: $(printf '%s\n' "${times[@]}" | sort -n | sed -n 3p) ms, median of ${times[*]}"

start
sleep 10
echo "idle after 10 s: $(awk '/^VmRSS/ {print $2, $3}' "/proc/$pid/status")"
stop
