#!/usr/bin/env bash
# The machines of a walk: world.sh REPOSITORY COMMON DIR HOST..., in namespaces of its own (mounts,
# network, processes). Each host has this machine's file system, written to in memory only, an
# empty home, hsd from npm, and 10.0.0.1, 10.0.0.2 as its address. DIR/steps/script lists the
# steps.
set -euo pipefail
repository=$1 common=$2 dir=$3
shift 3
here=$(dirname "$(readlink -f "$0")")

mount -t tmpfs -o size=12g none /run
mkdir -p "$dir/hosts"
mount -t tmpfs -o size=12g none "$dir/hosts"

# The environment of a login shell. On regtest hsd's files are one directory deeper than on main:
# the link makes the paths of the pages those of regtest.
environment() {
  cat <<END
export HOME=/home/you USER=you LANG=C.UTF-8 TERM=dumb HSD_NETWORK=regtest
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$HOME/.cargo/bin
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export NPM_CONFIG_PREFIX=/usr/local NPM_CONFIG_OFFLINE=true NPM_CONFIG_AUDIT=false
export NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false
END
  export -p | grep -E '^declare -x (CARGO|RUST)' || true
  echo "cd '$repository'"
}

number=0
for host in "$@"; do
  number=$((number + 1))
  root=$dir/hosts/$host/root
  mkdir -p "$dir/hosts/$host"/{upper,work,local,local-work,root,tree,tree-work}
  mount -t overlay none -o "lowerdir=/,upperdir=$dir/hosts/$host/upper,workdir=$dir/hosts/$host/work" "$root"
  mount -t overlay none -o "lowerdir=$common/npm:/usr/local,upperdir=$dir/hosts/$host/local,workdir=$dir/hosts/$host/local-work" "$root/usr/local"
  [ -e "$root$repository/Makefile" ] || {
    mkdir -p "$root$repository"
    mount -t overlay none -o "lowerdir=$repository,upperdir=$dir/hosts/$host/tree,workdir=$dir/hosts/$host/tree-work" "$root$repository"
  }
  mount --rbind /dev "$root/dev"
  mount -t proc none "$root/proc"
  mount -t tmpfs none "$root/run"
  mkdir -p "$root/run/lock" "$root/run/steps" "$root/home/you/.hsd" "$root/var/lib/hsd"
  mount --bind "$dir/steps" "$root/run/steps"
  rm -rf "$root$repository"/{run,dist}
  cp -r "$common/dist" "$root$repository/dist"
  mkdir "$root$repository/run"
  for prefix in home/you/.hsd var/lib/hsd "${repository#/}/run"; do ln -s . "$root/$prefix/regtest"; done
  install "$here/systemctl.js" "$root/usr/bin/systemctl"
  install "$here/sudo.sh" "$root/usr/bin/sudo"
  environment >"$root/run/environment"

  ip netns add "$host"
  ip -n "$host" link set lo up
  if [ $# -gt 1 ]; then
    ip link add "to-$host" type veth peer name eth0 netns "$host"
    ip link show switch >/dev/null 2>&1 || ip link add switch type bridge
    ip link set "to-$host" master switch up
    ip -n "$host" link set eth0 up
    ip -n "$host" addr add "10.0.0.$number/24" dev eth0
  else
    ip -n "$host" addr add "10.0.0.$number/32" dev lo
  fi
done
[ $# -eq 1 ] || ip link set switch up

on() {
  ip netns exec "$1" chroot "$dir/hosts/$1/root" /bin/bash -c "$2"
}

exec_on() {
  exec setsid ip netns exec "$1" chroot "$dir/hosts/$1/root" /bin/bash -c "$2"
}

# Exported variables and the directory are kept from one block to the next.
AS_BEFORE='. /run/environment; '
REMEMBERED='trap '\''{ export -p; echo "cd \"$PWD\""; } >/run/environment'\'' EXIT; '

failed() {
  echo "FAILED: $1"
  for log in "$dir"/steps/*.log "$dir"/hosts/*/root/var/log/units/*.log; do
    [ -s "$log" ] && echo "--- $log" && tail -n 25 "$log"
  done
  exit 1
}

# Sessions that Ctrl-C would end.
kept=

step() {
  local host=$1 place=$2 name=$3 mode=$4 until=$5 begun=$SECONDS
  echo "== $place on $host"
  cat "$dir/steps/$name"
  if [ "$mode" = stop ]; then
    for session in $kept; do kill -TERM -- "-$session"; done
    for session in $kept; do while pgrep -s "$session" >/dev/null; do sleep 0.1; done; done
    kept=
  elif [ "$mode" = keep ]; then
    exec_on "$host" "$AS_BEFORE exec bash -e /run/steps/$name" >"$dir/steps/$name.$host.log" 2>&1 </dev/null &
    kept="$kept $!"
  else
    on "$host" "$AS_BEFORE $REMEMBERED set -e; . /run/steps/$name" </dev/null 2>&1 || failed "$place"
  fi
  if [ -n "$until" ]; then
    while ! on "$host" "$AS_BEFORE $until" >"$dir/steps/until" 2>&1 </dev/null; do
      { [ "$mode" != keep ] || kill -0 $!; } && [ $((SECONDS - begun)) -lt 60 ] || { cat "$dir/steps/until"; failed "$place, until $until"; }
      sleep 0.3
    done
  fi
  echo "== took $((SECONDS - begun)) s"
}

. "$dir/steps/script"
