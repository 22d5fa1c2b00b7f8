#!/usr/bin/env bash
# Instructions of a line, a share and a job. Other programs on the machine do not change them, so that trees
# can be compared run by run. callgrind counts each bench at two lengths; the difference is what one more costs.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind > /dev/null || { echo 'instructions: valgrind is not installed' >&2; exit 1; }

program=$(cargo bench --locked -p hstratum-core --bench pool --no-run 2>&1 \
  | sed -n 's/.*Executable benches\/pool.rs (\(.*\))$/\1/p')
[ -n "$program" ] || { echo 'instructions: the bench cannot be built' >&2; exit 1; }

counted() { # BENCH ITERATIONS
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" \
    --bench --exact "$1" --sample-count 1 --sample-size "$2" 2>&1 \
    | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

measure() { # NAME BENCH FEWER MORE
  local fewer more
  fewer=$(counted "$2" "$3")
  more=$(counted "$2" "$4")
  [ "$more" -gt "$fewer" ] || { echo "instructions: no bench $2" >&2; exit 1; }
  printf '%-28s %10d\n' "$1" $(((more - fewer) / ($4 - $3)))
}

measure 'a line (parse_submit)' pool::parse_submit 1000 11000
measure 'a share (share_to_reply)' pool::share_to_reply 1000 11000
measure 'a notify (encode_notify)' pool::encode_notify 1000 11000
measure 'a job, 1,000 miners' pool::new_job::1000 5 25
measure 'a job, 1,000 solo miners' pool::new_solo_job::1000 5 25
