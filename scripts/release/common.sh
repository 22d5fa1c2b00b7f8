# What the scripts of a release share; sourced by them, in the repository's root.
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)}
# Every time in a package is the commit's, so that a commit gives the same bytes whenever it is built.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
repository=$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml)
tools=$PWD/target/release-tools
umask 022

fail() {
  echo "release: $1" >&2
  exit 1
}

# need PROGRAM PACKAGE
need() {
  command -v "$1" >/dev/null || fail "$1 is not installed: apt-get install $2"
}

# field PLATFORM NAME: of scripts/platforms.json; fails where a platform has none.
field() {
  node -e '
    const value = require("./scripts/platforms.json")[process.argv[1]]?.[process.argv[2]];
    if (!value)
      process.exit(1);
    console.log(value);' "$1" "$2" \
    || fail "$1: not a platform of a release with a field $2 in scripts/platforms.json"
}

this_platform() {
  node -p "require('./plugin/platform_package').platform()"
}

# pack ARCHIVE DIRECTORY NAME...: a tarball of what DIRECTORY has under these names, which depends on its files alone.
pack() {
  tar --create --directory="$2" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u+rwX,go+rX,go-w --format=gnu "${@:3}" | gzip --no-name "-${COMPRESSION:-9}" >"$1.new"
  mv "$1.new" "$1"
  echo "$1  $(du -h --apparent-size "$1" | cut -f1)"
}
