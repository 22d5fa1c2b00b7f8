#!/usr/bin/env bash
# Starts an hsd node with hstratum. On regtest, a small CPU miner as well; runs until Ctrl-C.
#   NETWORK   main, testnet, simnet or regtest (the default)
#   ADDRESS   who is paid; without one, the node's own wallet
#   ARGS      further options for hsd
set -euo pipefail
# Ctrl-C is for this script alone: hsd takes a second interrupt while it closes for an error.
set -m

cd "$(dirname "$0")/.."
network=${NETWORK:-regtest}
prefix=$PWD/run
read -ra args <<<"${ARGS:-}"

options=(--network="$network" --prefix="$prefix" --plugins=hstratum --log-level=info)
if [ -n "${ADDRESS:-}" ]; then
  options+=(--coinbase-address="$ADDRESS")
fi
directory=$prefix
if [ "$network" != main ]; then
  directory=$prefix/$network
fi

if [ "$network" != regtest ]; then
  echo "files: $directory   stop: Ctrl-C"
  node_modules/.bin/hsd "${options[@]}" "${args[@]}" &
  node=$!
  trap 'kill -INT $node 2>/dev/null || true' INT TERM
  while kill -0 $node 2>/dev/null; do wait $node || true; done
  exit
fi

mkdir -p "$directory"
log=$directory/console.log
: >"$log"
node_modules/.bin/hsd "${options[@]}" --no-dns "${args[@]}" >"$log" 2>&1 &
node=$!
follower='' miner=''

stop() {
  trap - INT TERM EXIT
  echo
  echo 'stopping'
  if [ -n "$miner" ]; then kill "$miner" 2>/dev/null || true; wait "$miner" 2>/dev/null || true; fi
  kill -INT $node 2>/dev/null || true
  wait $node 2>/dev/null || true
  if [ -n "$follower" ]; then kill "$follower" 2>/dev/null || true; fi
}
trap stop INT TERM EXIT

# The last line of hsd's start; before it, whatever ends the node is in the log.
until grep -q 'Node is loaded' "$log" && grep -q 'listening on' "$log"; do
  if ! kill -0 $node 2>/dev/null; then
    tail -n 5 "$log" >&2
    exit 1
  fi
  sleep 0.1
done
stratum=$(sed -n 's/.*(stratum) listening on .*:\([0-9]*\)$/\1/p' "$log" | head -n 1)
dashboard=$(sed -n 's/.*(stratum) dashboard on \(.*\)$/\1/p' "$log" | head -n 1)
http=$(sed -n 's/.*(node-http) Node HTTP server listening on \(.*\) (port=\([0-9]*\)).*/\1:\2/p' "$log" | head -n 1)

echo "stratum    stratum+tcp://127.0.0.1:$stratum   any user, any password"
if [ -n "$dashboard" ]; then echo "dashboard  $dashboard"; fi
echo "node RPC   http://$http"
echo "files      $directory/stratum"
echo "log        $log"
echo "stop       Ctrl-C"
echo

# One line a block, and whatever goes wrong.
tail -n +1 -f "$log" \
  | grep --line-buffered -E 'block accepted|\[(warning|error)\] \(stratum\)' &
follower=$!
target/release/hstratum mine --url "stratum+tcp://127.0.0.1:$stratum" --user alice \
  --threads 1 --pause 3000 >"$directory/miner.log" 2>&1 &
miner=$!
wait $node || true
