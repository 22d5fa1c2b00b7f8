#!/bin/sh
# Runs in a system that has nothing of hstratum: installs from /release, mines, upgrades to /next, falls back from /broken,
# removes. Each line of its output is a step that was passed, and what was said to a user.
set -u
address=rs1qqyqszqgpqyqszqgpqyqszqgpqyqszqgpprmh8u
prefix=/var/lib/hsd

ok() { echo "ok    $1"; }
fail() {
  echo "FAIL  $1"
  sed 's/^/      /' /tmp/output
  exit 1
}
# refused WHAT PATTERN COMMAND...: one line that says PATTERN, and nothing was installed.
refused() {
  what=$1 pattern=$2
  shift 2
  "$@" >/tmp/output 2>&1 </dev/null && fail "$what: it was not refused"
  grep -q "$pattern" /tmp/output || fail "$what: it does not say $pattern"
  [ "$(grep -c '^install.sh: ' /tmp/output)" = 1 ] || fail "$what: it is not one line"
  ok "$what: $(grep '^install.sh: ' /tmp/output)"
}
nothing() {
  for path in /etc/systemd/system/hsd.service /usr/local/bin/hsd /opt/hstratum $prefix; do
    [ ! -e $path ] || { ls -R $path >/tmp/output; fail "$path was left behind"; }
  done
}
files() { find /etc /opt /usr /var -xdev ! -path '/var/log/*' | sort; }
passes() {
  what=$1
  shift
  "$@" >/tmp/output 2>&1 </dev/null || fail "$what"
  ok "$what"
}
# Without systemd: what the installer says is to be run, again after an upgrade.
start() {
  [ ! "$systemd" ] || return 0
  stop
  command=$(sed -n 's/^  \(setpriv .*\)/\1/p' /tmp/output)
  [ "$command" ] || fail 'it does not say how to start the node'
  $command >/tmp/node 2>&1 &
  node=$!
  waited=0
  until /tools/node -e 'require("net").connect(3008, "127.0.0.1").on("error", () => process.exit(1)).on("connect", process.exit)'; do
    sleep 1
    waited=$((waited + 1))
    [ $waited -lt 60 ] || { cp /tmp/node /tmp/output; fail 'the node does not serve miners'; }
  done
}
stop() {
  [ "$node" ] || return 0
  kill "$node"
  wait "$node"
  node=
}
# The first accepted share of a miner that tries for a minute.
share() {
  timeout 60 hstratum mine --url stratum+tcp://127.0.0.1:3008 --user alice --threads 1 --blocks 1 >/tmp/output 2>&1 \
    || fail 'no share was accepted'
}

. /etc/os-release
systemd=
node=
if [ -d /run/systemd/system ]; then systemd=yes; fi
echo "$PRETTY_NAME, $(getconf GNU_LIBC_VERSION), $(uname -m), systemd: ${systemd:-no}"
files >/tmp/before
/tools/node /tools/files.js /release 8001 &
/tools/node /tools/files.js /next 8002 &
/tools/node /tools/files.js /broken 8003 &
/tools/node /tools/files.js /tampered 8004 &
/tools/node /tools/files.js /other 8005 &
sleep 2
url=http://127.0.0.1

refused 'an option that is none' '\-\-adress' sh /release/install.sh --adress x
refused 'no address, no terminal' 'no --address' sh /release/install.sh --network regtest --from $url:8001
refused 'an address of another network' 'not an address of main' sh /release/install.sh --address $address --from $url:8001
refused 'a tampered download' 'checksum differs' sh /release/install.sh --address $address --network regtest --from $url:8004
refused 'files of another release' 'not signed' sh /release/install.sh --address $address --network regtest --from $url:8002
# A certificate that this system trusts, as of a company's proxy, is none of Sigstore's.
for place in /etc/ssl/certs /usr/lib/ssl/certs; do
  if [ -d $place ]; then cp /other/authority.pem $place/other.pem && ln -sf other.pem "$place/$(openssl x509 -in /other/authority.pem -noout -hash).0"; fi
done
refused 'a signature of an authority of this system' 'not signed' sh /release/install.sh --address $address --network regtest --from $url:8005
refused 'a server that is not there' 'failed to fetch' sh /release/install.sh --address $address --network regtest --from $url:8009
/tools/node -e 'require("net").createServer().listen(3008)' &
taker=$!
sleep 1
refused 'a port that is taken' "3008 is taken by node (process $taker)" sh /release/install.sh --address $address --network regtest --from $url:8001
kill $taker
mount -t tmpfs -o size=100m tmpfs /opt
refused 'no room' 'make room' sh /release/install.sh --address $address --network regtest --from $url:8001
umount /opt
mkdir /opt/hstratum
echo mine >/opt/hstratum/file
refused 'a directory of somebody else' 'no --address' sh /release/install.sh --network regtest --from $url:8001
[ "$(cat /opt/hstratum/file)" = mine ] || fail 'it removed what was not its own'
refused 'two runs at once' 'another run' flock /opt/hstratum/.lock sh /release/install.sh --address $address --network regtest --from $url:8001
rm -r /opt/hstratum
# Killed at several moments, a run leaves nothing that the next does not take over.
for delay in 0.1 0.5 1 2 3 4; do
  timeout --signal=KILL $delay sh /release/install.sh --address $address --network regtest --from $url:8001 >/dev/null 2>&1 </dev/null
done
ok 'killed six times'
if [ -L /opt/hstratum/current ]; then passes 'removes what one of them installed' sh /release/install.sh --uninstall; fi
rm -rf $prefix

begin=$(date +%s)
passes 'installs' sh /release/install.sh --address $address --network regtest --from $url:8001
tail -n 4 /tmp/output
installed=$(date +%s)
start
share
echo "ok    the first accepted share: $(($(date +%s) - begin)) s after the command, of which the installer $((installed - begin)) s"
[ "$(stat -c %U $prefix/regtest/stratum/ledger.db)" = hsd ] || fail 'the ledger is not of the user hsd'
wrong=${address%u}
HSD_COINBASE_ADDRESS=$wrong hsd --network=regtest --prefix=/tmp/wrong >/tmp/output 2>&1 && fail 'a wrong address: it was not refused'
[ "$(cat /tmp/output)" = "hstratum: coinbase-address: $wrong is not an address: a character is wrong or missing" ] \
  || fail 'a wrong address: it is not the line'
ok "a wrong address: $(cat /tmp/output)"
passes 'runs again and changes nothing' sh /release/install.sh --from $url:8001
grep -q 'is installed' /tmp/output || fail 'it did not see that it is installed'
refused 'another address than that of hsd.conf' 'has not the line' sh /release/install.sh --from $url:8001 --address rs1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqn64uv3
for damage in 'rm /opt/hstratum/current/bin/node' 'cp /dev/null /opt/hstratum/current/bin/hsd' 'rm -r /opt/hstratum/0.1.0'; do
  $damage || fail "$damage"
  passes "repairs after: $damage" sh /release/install.sh --from $url:8001
  grep -q 'is installed and damaged' /tmp/output || fail "$damage: it did not see it"
  start
done
share
[ ! -e $prefix/regtest/stratum/ledger-of-0.1.0.db ] || fail 'a repair has copied the ledger'
before=$(hstratum ledger report --ledger $prefix/regtest/stratum/ledger.db 2>&1 | head -n 30)

passes 'upgrades' sh /next/install.sh --from $url:8002
grep -q 'Copied the ledger' /tmp/output || fail 'the ledger was not copied'
start
share
[ "$(readlink /opt/hstratum/current)" = 0.1.1 ] || fail 'current is not 0.1.1'
[ "$(hstratum ledger report --ledger $prefix/regtest/stratum/ledger.db 2>&1 | head -n 30)" != "$before" ] || fail 'nothing was credited after it'
ok 'the upgraded node finds a block'
refused 'an older release' '0.1.1 is installed, which is newer than 0.1.0' sh /release/install.sh --from $url:8001
if [ "$systemd" ]; then
  refused 'a release that does not start' '0.1.2 does not start, and 0.1.1 runs again' sh /broken/install.sh --from $url:8003
  share
  ok 'the one before goes on after that'
fi

stop
passes 'removes' sh /next/install.sh --uninstall
cat /tmp/output
files >/tmp/after
echo "      left: $(comm -13 /tmp/before /tmp/after | grep -v "^$prefix/" | tr '\n' ' ')and $(find $prefix -type f | wc -l) files in $prefix"
refused 'nothing to remove' 'not installed' sh /next/install.sh --uninstall
passes 'installs again, with the chain that was left' sh /next/install.sh --network regtest --from /next
start
share
stop
ok 'done'
