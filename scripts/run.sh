#!/usr/bin/env bash
# Starts an hsd node with hstratum. On regtest, a small CPU miner as well; runs until Ctrl-C.
#   NETWORK   main, testnet, simnet or regtest (the default)
#   ADDRESS   the address that blocks pay; without one, the node's own wallet
#   ARGS      further options for hsd
# An error of the start is one line, and exit code 1.
set -euo pipefail
# Ctrl-C is for this script alone: hsd takes a second interrupt while it closes for an error.
set -m

cd "$(dirname "$0")/.."
network=${NETWORK:-regtest}
# Tests have a directory of their own.
prefix=${HSTRATUM_RUN_PREFIX:-$PWD/run}
read -ra args <<<"${ARGS:-}"

fail() {
  echo "make run: $1" >&2
  exit 1
}

case $network in
  main | testnet | simnet | regtest) ;;
  *) fail "NETWORK=$network: expected main, testnet, simnet or regtest" ;;
esac

options=(--network="$network" --prefix="$prefix" --plugins=hstratum --log-level=info)
if [ -n "${ADDRESS:-}" ]; then
  node -e '
    const Address = require("hsd/lib/primitives/address");
    const [text, network] = process.argv.slice(1);
    try {
      Address.fromString(text, network);
    } catch (e) {
      process.exit(1);
    }' "$ADDRESS" "$network" || fail "ADDRESS=$ADDRESS: not an address of $network"
  options+=(--coinbase-address="$ADDRESS")
fi
directory=$prefix
if [ "$network" != main ]; then
  directory=$prefix/$network
fi

# Output of a node without its log: of an error only its message, not its place in the source.
plain() {
  sed -nu -E \
    -e '/^\[/p' \
    -e 's/^hstratum: /make run: /p' \
    -e 's/^Error: IO error: lock .*$/make run: another node is running in this directory/p' \
    -e 's/^[A-Za-z]*Error( \[[A-Z_]+\])?: (.*)$/make run: hsd says: \2/p'
}

if [ "$network" != regtest ]; then
  echo "files: $directory   stop: Ctrl-C"
  exec 3> >(trap '' INT; plain)
  printer=$!
  node plugin/hsd_launcher.js "${options[@]}" "${args[@]}" >&3 2>&3 3>&- &
  node=$!
  exec 3>&-
  trap 'kill -INT $node 2>/dev/null || true' INT TERM
  code=0
  while kill -0 $node 2>/dev/null; do code=0; wait $node || code=$?; done
  wait $printer || true
  exit "$code"
fi

reason=$(mkdir -p "$directory" 2>&1) || fail "failed to make $directory: ${reason##*: }"
[ -w "$directory" ] || fail "failed to write in $directory: Permission denied"
kept=$directory/console.log
# A temporary name, so as not to replace the log of a node that may run here already.
log=$directory/console.$$.log
follower='' miner='' node=''

start() {
  : >"$log"
  node plugin/hsd_launcher.js "${options[@]}" --no-dns "${args[@]}" >"$log" 2>&1 &
  node=$!
}

stop() {
  trap - INT TERM EXIT
  echo
  echo 'stopping'
  if [ -n "$miner" ]; then kill "$miner" 2>/dev/null || true; wait "$miner" 2>/dev/null || true; fi
  kill -INT $node 2>/dev/null || true
  wait $node 2>/dev/null || true
  if [ -n "$follower" ]; then kill "$follower" 2>/dev/null || true; fi
  if [ "$log" != "$kept" ]; then mv -f "$log" "$kept"; fi
}

start
trap 'stop; exit 0' INT TERM

# The last line of hsd's start. An error that ends the node before it is in the log.
retried=''
until grep -q 'Node is loaded' "$log" && grep -q 'listening on' "$log"; do
  if ! kill -0 $node 2>/dev/null; then
    if [ -z "$retried" ] && grep -q 'Could not acquire lock for' "$log"; then
      retried=yes
      echo 'the node that ran here last was ended before it had closed: trying again in 4 seconds'
      sleep 4
      start
      continue
    fi
    reason=$(plain <"$log" | grep '^make run: ' | tail -n 1 || true)
    case $reason in
      *'another node is running'*) rm -f "$log" ;;
      *) mv -f "$log" "$kept" ;;
    esac
    echo "${reason:-make run: hsd has ended: see $kept}" >&2
    exit 1
  fi
  sleep 0.1
done
mv -f "$log" "$kept"
log=$kept
trap stop EXIT
stratum=$(sed -n 's/.*(stratum) listening on .*:\([0-9]*\)$/\1/p' "$log" | head -n 1)
who=$(sed -n 's/.*(stratum) who may mine: \(.*\)$/\1/p' "$log" | head -n 1)
dashboard=$(sed -n 's/.*(stratum) dashboard on \(.*\)$/\1/p' "$log" | head -n 1)
http=$(sed -n 's/.*(node-http) Node HTTP server listening on \(.*\) (port=\([0-9]*\)).*/\1:\2/p' "$log" | head -n 1)

echo "stratum    stratum+tcp://127.0.0.1:$stratum   $who"
if [ -n "$dashboard" ]; then echo "dashboard  $dashboard"; fi
echo "node RPC   http://$http"
echo "files      $directory/stratum"
echo "log        $log"
echo "stop       Ctrl-C"
echo

# One line for each block, and all warnings and errors.
tail --pid=$node -n +1 -f "$log" \
  | grep --line-buffered -E 'block accepted|\[(warning|error)\] \(stratum\)' &
follower=$!
target/release/hstratum mine --url "stratum+tcp://127.0.0.1:$stratum" --user alice \
  --threads 1 --pause 3000 >"$directory/miner.log" 2>&1 &
miner=$!
# The miner ends by itself only when it is refused.
wait -n $node $miner || true
if kill -0 $node 2>/dev/null; then
  echo "the miner of make run has ended: $(tail -n 1 "$directory/miner.log")"
  miner=''
fi
code=0
wait $node || code=$?
if [ "$code" != 0 ]; then plain <"$log" | grep '^make run: ' | tail -n 1 >&2 || true; fi
exit "$code"
