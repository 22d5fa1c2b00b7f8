#!/bin/sh
# Installs hstratum @VERSION@ with a full node of Handshake as a systemd service, or upgrades or removes it.
#
#   sh install.sh [--address ADDRESS] [--network NAME] [--from DIR|URL]
#   sh install.sh --uninstall
#
#   --address    what found blocks pay: an address of a wallet of yours; asked for where it is missing
#   --network    main (the default), testnet or regtest
#   --from       where the release's files are, if not at @REPOSITORY@: a directory, whose files are
#                trusted, or a URL, whose files must be signed by the release's workflow
#   --uninstall  removes the service and the programs, and leaves the chain, the ledger and the wallet
#
# Programs are in /opt/hstratum/VERSION, with links in /usr/local/bin; everything else is in /var/lib/hsd, of
# the user hsd. Nothing is changed before all files are there, checked, and run.
set -eu
umask 022
# `su` without `-` leaves these out.
PATH=$PATH:/usr/sbin:/sbin

version=@VERSION@
repository=@REPOSITORY@
opt=/opt/hstratum
home=/var/lib/hsd
bin=/usr/local/bin
unit=/etc/systemd/system/hsd.service
commands='hsd hsd-cli hsd-rpc hsw-cli hsw-rpc hstratum'
address='' network='' from=$repository/releases/download/v$version
stage=''

main() {
  uninstall=
  while [ $# -gt 0 ]; do
    case $1 in
      --address) needs_value "$@" && address=$2 && shift ;;
      --network) needs_value "$@" && network=$2 && shift ;;
      --from) needs_value "$@" && from=${2%/} && shift ;;
      --uninstall) uninstall=yes ;;
      -h | --help) usage && exit ;;
      *) fail "$1: not an option; they are --address, --network, --from and --uninstall" ;;
    esac
    shift
  done
  [ "$(id -u)" = 0 ] || fail 'it needs root: run it with sudo'
  if [ "$uninstall" ]; then
    [ -L $opt/current ] || fail "hstratum is not installed: there is no $opt/current"
    lock
    remove
    exit
  fi
  case $network in '' | main | testnet | regtest) ;; *) fail "--network $network: it is main, testnet or regtest" ;; esac
  find_platform
  mkdir -p $opt $bin || fail "$opt and $bin must be directories that can be written"
  chmod 755 $opt
  lock
  # Of a run that was killed.
  rm -rf $opt/.new-*
  find_installed
  trap clean EXIT
  [ "$installed" ] || check_free
  ask_address
  trap 'exit 1' HUP INT TERM
  if [ "$installed" = "$version" ] && whole; then
    say "hstratum $version is installed"
  else
    fetch_all
  fi
  check_address
  configure
  if [ "$systemd" ]; then
    start
  fi
  report
}

usage() {
  cat <<END
Installs hstratum $version with a full node of Handshake as a systemd service, or upgrades or removes it.

  sh install.sh [--address ADDRESS] [--network NAME] [--from DIR|URL]
  sh install.sh --uninstall

  --address    what found blocks pay: an address of a wallet of yours; asked for where it is missing
  --network    main (the default), testnet or regtest
  --from       where the release's files are: a directory, or a URL
  --uninstall  removes the service and the programs, and leaves the chain, the ledger and the wallet
END
}

say() { echo "$1"; }

lock() {
  exec 9>$opt/.lock
  flock --nonblock 9 || fail 'another run of it has not ended'
}

# What a run that was refused leaves is nothing, and what others have in the directory stays.
clean() {
  rm -rf "$stage"
  if [ ! -L $opt/current ]; then
    rm -f $opt/.lock
    rmdir $opt 2>/dev/null || true
  fi
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

needs_value() {
  [ $# -gt 1 ] && [ "$2" ] || fail "$1 needs a value"
}

# What this machine is, and whether a release has a package for it.
find_platform() {
  [ "$(uname -s)" = Linux ] || fail "there is no package for $(uname -s): build hstratum from its source, $repository"
  case $(uname -m) in
    x86_64) platform=linux-x64-gnu ;;
    aarch64) platform=linux-arm64-gnu ;;
    *) fail "there is no package for a processor $(uname -m): it is x86_64 or aarch64 (a 64-bit system)" ;;
  esac
  libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) \
    || fail 'this system has no glibc, which Node.js and hstratum need: take Debian, Ubuntu or Fedora, or the image'
  libc=${libc#glibc }
  if [ "${libc%%.*}" -lt 2 ] || { [ "${libc%%.*}" = 2 ] && [ "$(echo "$libc" | cut -d. -f2)" -lt 28 ]; }; then
    fail "glibc is $libc here and must be 2.28 or newer: take a newer system (Debian 10, Ubuntu 20.04), or the image"
  fi
  for program in flock gzip setpriv sha256sum tar useradd; do
    command -v $program >/dev/null || fail "$program is not installed"
  done
  systemd=
  if [ -d /run/systemd/system ]; then systemd=yes; fi
}

# The version that is installed, and the network it is for.
find_installed() {
  installed=
  if [ -L "$opt/current" ]; then
    installed=$(readlink "$opt/current")
    installed_network=$(sed -n 's/^Environment=HSD_NETWORK=//p' "$unit.d/network.conf" 2>/dev/null) || true
    installed_network=${installed_network:-main}
    [ "${network:-$installed_network}" = "$installed_network" ] \
      || fail "hstratum $installed is installed for $installed_network: uninstall it first to change to $network"
    network=$installed_network
    newest=$(printf '%s\n' "$installed" "$version" | sort -V | tail -n 1)
    [ "$newest" = "$version" ] || fail "hstratum $installed is installed, which is newer than $version: to go back see \
$repository/blob/main/docs/ledger.md#back-to-an-older-release"
  fi
  network=${network:-main}
  directory=$home
  if [ "$network" != main ]; then directory=$home/$network; fi
}

# Whether the installed files are what this installer has unpacked.
whole() {
  (cd "$opt/$version" && sha256sum --check --quiet .sums) >/dev/null 2>&1 && return
  say "hstratum $version is installed and damaged"
  return 1
}

# Nothing of another hsd may be here, and there must be room and free ports.
check_free() {
  [ ! -e "$unit" ] || fail "$unit is there, and not of this installer: remove that service, \
or add hstratum to its hsd ($repository#beside-an-hsd-of-your-own)"
  for name in $commands; do
    case $(readlink "$bin/$name") in
      $opt/*) ;;
      *) [ ! -e "$bin/$name" ] || fail "$bin/$name is there, and not of this installer: remove it first" ;;
    esac
  done
  case $network in
    main) ports='12037 12038 12039' ;;
    testnet) ports='13037 13038 13039' ;;
    regtest) ports='14037 14038 14039' ;;
  esac
  for port in $ports; do
    ! taken $port || fail "port $port is taken$(owner $port): an hsd runs already. Stop it, \
or add hstratum to it ($repository#beside-an-hsd-of-your-own)"
  done
  for port in 3008 3080; do
    ! taken $port || fail "port $port is taken$(owner $port): hstratum needs it. Stop that program"
  done
  enough_room /opt 600
  enough_room /var/lib 1000
  if [ "$network" = main ] && [ "$(room /var/lib)" -lt 40000 ]; then
    say "Note: /var/lib has $(room /var/lib) MB free; the chain of main takes tens of thousands of MB."
  fi
}

# taken PORT: whether a program of this machine listens on it.
taken() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" \
    '$4 == "0A" && substr($2, length($2) - 4) == port {found = 1} END {exit !found}'
}

# owner PORT: " by NAME (process PID)" where that can be seen.
owner() {
  socket=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" \
    '$4 == "0A" && substr($2, length($2) - 4) == port {print $10; exit}')
  for file in /proc/[0-9]*/fd/*; do
    if [ "$(readlink "$file" 2>/dev/null)" = "socket:[$socket]" ]; then
      pid=${file#/proc/}
      pid=${pid%%/*}
      program=$(tr '\0' '\n' <"/proc/$pid/cmdline" | head -n 1)
      echo " by ${program##*/} (process $pid)"
      return
    fi
  done
}

room() { df -Pm "$1" | awk 'NR == 2 {print $4}'; }

enough_room() { # DIRECTORY MB
  [ "$(room "$1")" -ge "$2" ] || fail "$1 has $(room "$1") MB free and must have $2: make room"
}

# All files of the release that are needed, checked and unpacked, in $stage.
fetch_all() {
  enough_room /opt 600
  stage=$(mktemp -d $opt/.new-XXXXXX)
  name=hstratum-node-$version-$platform
  say "Fetching hstratum $version for $platform"
  fetch SHA256SUMS
  case $from in
    *://*)
      fetch SHA256SUMS.sig
      fetch SHA256SUMS.pem
      check_signature
      ;;
    *) say "$from is a directory of this machine: its signature is not checked" ;;
  esac
  grep " [ *]$name.tar.gz\$" "$stage/SHA256SUMS" >"$stage/sum" \
    || fail "SHA256SUMS of $from names no $name.tar.gz: it is not release $version"
  fetch "$name.tar.gz"
  (cd "$stage" && sha256sum --check --status sum) \
    || fail "$name.tar.gz of $from is not the file of the release (its checksum differs): nothing was installed"
  tar --extract --file="$stage/$name.tar.gz" --directory="$stage" --no-same-owner 2>"$stage/tar.log" \
    || fail "$name.tar.gz could not be unpacked into $stage: $(tail -n 2 "$stage/tar.log" | head -n 1)"
  new=$stage/$name
  ran=$("$new/bin/node" --version 2>&1) || fail "the Node.js of the release does not run here: $ran"
  ran=$("$new/bin/hstratum" --version 2>&1) || fail "hstratum does not run here: $ran"
  ran=$("$new/bin/node" -e "process.dlopen({exports: {}}, process.argv[1])" \
    "$new/lib/node_modules/@hstratum/$platform/hstratum.node" 2>&1) || fail "hstratum.node does not load here: $ran"
  # By which another run sees what is missing or was changed.
  (cd "$new" && find . -xtype f ! -name .sums -exec sha256sum {} + >.sums)
}

fetch() { # FILE
  case $from in
    *://*)
      if command -v curl >/dev/null; then
        reason=$(curl --fail --silent --show-error --location --retry 3 --connect-timeout 30 --speed-time 60 \
          --speed-limit 1000 --output "$stage/$1" "$from/$1" 2>&1) || fail "failed to fetch $from/$1: $reason"
      elif command -v wget >/dev/null; then
        wget --quiet --tries=3 --timeout=60 --output-document="$stage/$1" "$from/$1" || fail "failed to fetch $from/$1"
      else
        fail 'neither curl nor wget is installed: apt-get install curl'
      fi
      ;;
    *) cp "$from/$1" "$stage/$1" 2>/dev/null || fail "$from has no file $1 that can be read" ;;
  esac
}

# The list of checksums must be signed with a certificate that Sigstore gave to the workflow of this release.
check_signature() {
  command -v openssl >/dev/null || fail 'openssl is not installed, which checks the signature: apt-get install openssl'
  cat >"$stage/sigstore.pem" <<'END'
@SIGSTORE@
END
  # The certificates of this system count for nothing.
  only=-no-CApath
  if openssl verify -help 2>&1 | grep -q no-CAstore; then only="$only -no-CAstore"; fi
  (
    cd "$stage" \
      && openssl verify $only -no_check_time -CAfile sigstore.pem SHA256SUMS.pem \
      && [ "$(openssl x509 -in SHA256SUMS.pem -noout -ext subjectAltName | tail -n +2)" \
        = "    URI:$repository/.github/workflows/release.yml@refs/tags/v$version" ] \
      && openssl x509 -in SHA256SUMS.pem -noout -text \
        | grep -A 1 '1\.3\.6\.1\.4\.1\.57264\.1\.8:' | grep -qx ' *\.+https://token\.actions\.githubusercontent\.com' \
      && openssl x509 -in SHA256SUMS.pem -noout -pubkey >key.pem \
      && openssl dgst -sha256 -verify key.pem -signature SHA256SUMS.sig SHA256SUMS
  ) >"$stage/signature.log" 2>&1 \
    || fail "SHA256SUMS of $from is not signed by the workflow of release $version: nothing was installed"
}

# What found blocks pay: asked for once, before anything is fetched.
ask_address() {
  if [ -e "$directory/hsd.conf" ]; then
    [ ! "$address" ] || grep -Fqx "coinbase-address: $address" "$directory/hsd.conf" \
      || fail "$directory/hsd.conf is there and has not the line coinbase-address: $address. Write it there"
  elif [ ! "$address" ]; then
    (: </dev/tty) 2>/dev/null || fail 'there is no --address, and no terminal to ask for it'
    printf 'Address of your wallet, which found blocks pay: ' >/dev/tty
    read -r address </dev/tty
    [ "$address" ] || fail 'an address is needed: --address hs1q...'
  fi
}

check_address() {
  [ ! -e "$directory/hsd.conf" ] || return 0
  programs=${new:-$opt/$version}
  "$programs/bin/node" -e '
    const [modules, text, network] = process.argv.slice(1);
    require(`${modules}/hsd/lib/primitives/address`).fromString(text, network);' \
    "$programs/lib/node_modules" "$address" "$network" >/dev/null 2>&1 || fail "--address $address: not an address of $network"
}

configure() {
  if ! id hsd >/dev/null 2>&1; then
    group=--user-group
    if getent group hsd >/dev/null; then group=--gid=hsd; fi
    useradd --system $group --home-dir $home --shell /usr/sbin/nologin hsd
  fi
  [ ! -L $home ] || fail "$home is a link, which systemd refuses: mount the disk there instead"
  if [ ! -d $home ]; then
    mkdir -m 700 $home
    chown hsd:hsd $home
  fi
  # What is below belongs to hsd, who could have put links there: root writes nothing into it.
  as_hsd mkdir -p "$directory" || fail "the user hsd cannot write to $home: chown hsd:hsd $home"
  if [ ! -e "$directory/hsd.conf" ]; then
    as_hsd tee "$directory/hsd.conf.new" >/dev/null <<END
# Options of hsd; those of hstratum are in stratum.conf beside it. After a change: systemctl restart hsd
coinbase-address: $address
# Who does not know it cannot call the node.
api-key: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
END
    as_hsd mv "$directory/hsd.conf.new" "$directory/hsd.conf"
  fi
  as_hsd touch "$directory/stratum.conf"
  if [ "${new:-}" ]; then
    if [ "${installed:-$version}" != "$version" ]; then back_up; fi
    if [ -e "$opt/$version" ]; then mv "$opt/$version" "$stage/old"; fi
    mv "$new" "$opt/$version"
  fi
  mkdir -p "$unit.d"
  echo "[Service]
Environment=HSD_NETWORK=$network" >"$unit.d/network.conf"
  for name in $commands; do
    ln -sfn "$opt/current/bin/$name" "$bin/$name"
  done
  use "$version"
}

# use VERSION: from the next start on.
use() {
  ln -sfn "$1" "$opt/current.new"
  mv -T "$opt/current.new" "$opt/current"
  cp "$opt/$1/share/systemd/hsd.service" "$unit"
}

# A copy of the ledger before another version opens it. One that is there is kept, with its date in the name.
back_up() {
  [ -e "$directory/stratum/ledger.db" ] || return 0
  copy=$directory/stratum/ledger-of-$installed.db
  reason=$(as_hsd "$opt/$installed/bin/hstratum" ledger backup --ledger "$directory/stratum/ledger.db" \
    --to "$copy.$$" 2>&1) || fail "the ledger could not be copied before the upgrade: $reason"
  if [ -e "$copy" ]; then as_hsd mv "$copy" "${copy%.db}-$(date -u -r "$copy" +%Y%m%d-%H%M%S).db"; fi
  as_hsd mv "$copy.$$" "$copy"
  say "Copied the ledger to $copy"
}

as_hsd() { (cd / && umask 077 && setpriv --reuid hsd --regid hsd --init-groups env HOME=$home "$@"); }

# The service with this version; where that does not start, with the one before.
start() {
  systemctl daemon-reload
  systemctl enable --quiet hsd
  if runs; then return; fi
  reason=$(journalctl --unit hsd --lines 50 --output cat --no-pager 2>/dev/null | grep -iE 'error|hstratum:' | tail -n 1)
  if [ "$installed" ] && [ "$installed" != "$version" ]; then
    use "$installed"
    systemctl daemon-reload
    if runs; then fail "hstratum $version does not start, and $installed runs again: $reason"; fi
    fail "hstratum $version does not start, nor does $installed any more: $reason. The ledger as it was before is ${copy:-not copied}"
  fi
  systemctl stop hsd
  fail "hsd does not start: ${reason:-see journalctl --unit hsd}"
}

# Restart the service, and wait until miners' port is open, which a node opens last, or it has ended.
runs() {
  systemctl restart hsd || return 1
  waited=0
  while [ $waited -lt 90 ]; do
    [ "$(systemctl show --property NRestarts --value hsd)" = 0 ] && systemctl is-active --quiet hsd || return 1
    if taken "$(option port 3008)"; then return 0; fi
    sleep 1
    waited=$((waited + 1))
  done
}

# option NAME DEFAULT: of stratum.conf.
option() {
  value=$(sed -n "s/^$1: *//p" "$directory/stratum.conf" | tail -n 1)
  echo "${value:-$2}"
}

report() {
  if [ ! "$systemd" ]; then
    say "This machine runs no systemd. Start the node with:
  setpriv --reuid hsd --regid hsd --init-groups env HOME=$home HSD_NETWORK=$network hsd --prefix=$home --plugins=hstratum"
    return
  fi
  for old in "$opt"/[0-9]*; do
    case ${old##*/} in "$version" | "$installed") ;; *) rm -rf "$old" ;; esac
  done
  as_hsd hstratum doctor --prefix $home --network "$network" || true
  say "
hstratum $version runs. Miners: stratum+tcp://$(hostname -I 2>/dev/null | awk '{print $1 ? $1 : "127.0.0.1"}'):$(option port 3008)
Dashboard: http://127.0.0.1:$(option http-port 3080)/   What it says: journalctl --unit hsd --follow   What is missing: \
sudo -u hsd hstratum doctor --prefix $home --network $network"
}

remove() {
  if [ -d /run/systemd/system ]; then systemctl disable --quiet --now hsd || true; fi
  rm -f "$unit" "$unit.d/network.conf"
  rmdir "$unit.d" 2>/dev/null || true
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  for name in $commands; do
    case $(readlink "$bin/$name") in $opt/*) rm "$bin/$name" ;; esac
  done
  rm -rf $opt
  say "Removed the service and the programs. The chain, the ledger and the wallet are still in $home, of the user hsd.
To remove those too, and the keys of that wallet with them: rm -r $home; userdel hsd"
}

# Last and in braces, so that of a download that was cut nothing runs.
{ main "$@"; }
