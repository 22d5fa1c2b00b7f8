#!/bin/bash
# sudo, for a machine on which the user is root already.
user=root
while [[ ${1:-} == -* ]]; do
  case $1 in
    -u) user=$2; shift 2 ;;
    *) echo "sudo: $1?" >&2; exit 1 ;;
  esac
done
HOME=$(getent passwd "$user" | cut -d: -f6) exec setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
