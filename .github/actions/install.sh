#!/bin/sh
# Installs imagegate for the actions in this repository. It runs nothing that it has not verified.
#
# A release is verified in two steps. The archive must have the SHA-256 that is written in the action,
# and then the binary from this archive verifies the release: the signature of checksums.txt, and the
# provenance. Another version than the one in the action is verified by the binary of that one.
#
# Variables: VERSION and SHA256_OS_ARCH are the release in the action; INSTALL, REQUESTED, RELEASE_URL
# and TRUSTED_ROOT are inputs of the action. RUNNER_* and GITHUB_OUTPUT come from the runner.
# Outputs: from (release or source), dir (a new folder of this use), binary (the path of imagegate),
# source (the folder of go.mod); after a failure exit-code and reason.
set -eu

output() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }

# fail CODE TEXT ends the step. The callers only put checked values into TEXT, so it needs no escapes.
fail() {
  printf '::error title=imagegate was not installed::%s\n' "$2"
  output exit-code "$1"
  output reason "$2"
  exit "$1"
}

# matches TEXT PATTERN reports whether all of TEXT is one line that matches an extended regular expression.
matches() {
  case $1 in *'
'*) return 1 ;; esac
  printf '%s\n' "$1" | grep -Eqx -- "$2"
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

# quietly COMMAND... runs a command whose output may contain text from a server. GitHub must not take
# the output for its own commands.
quietly() {
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  echo "::stop-commands::$token"
  status=0
  "$@" 2>&1 || status=$?
  printf '\n::%s::\n' "$token"
  return "$status"
}

download() { # URL FILE
  quietly curl --fail --silent --show-error --location --proto "$protocol" --proto-redir "$protocol" \
    --connect-timeout 20 --max-time 300 --retry 3 --output "$2" -- "$1" ||
    fail 4 "The release could not be downloaded: see the log for the file and the error. Nothing was run."
}

# fetch VERSION DIR gets the archive of a release, and the files that prove where it comes from. The
# files stay on a self-hosted runner. The copies in DIR are the ones that are checked and used.
fetch() {
  kept=${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/imagegate-releases/$1
  mkdir -p "$kept" 2>/dev/null || true # the folder may be read-only
  mkdir -p "$2"
  for file in "imagegate_$1_$platform.$extension" checksums.txt checksums.txt.sigstore.json provenance.sigstore.json; do
    if [ -f "$kept/$file" ]; then
      cp -- "$kept/$file" "$2/$file"
      continue
    fi
    download "$url/v$1/$file" "$2/$file"
  done
}

# keep VERSION DIR keeps verified files for the next use. A failure only costs the next use some time.
keep() {
  for file in "$2"/*; do
    if [ -d "$kept" ] && [ ! -f "$kept/${file##*/}" ] && cp -- "$file" "$kept/.${dir##*/}"; then
      mv -- "$kept/.${dir##*/}" "$kept/${file##*/}"
    fi
  done
}

# unpack ARCHIVE DIR puts the binary from an archive into DIR.
unpack() {
  mkdir -p "$2"
  case $1 in
    *.zip) unzip -q "$1" "$program" -d "$2" ;;
    *) tar -xJf "$1" -C "$2" "$program" ;;
  esac || fail 6 "The archive of the release cannot be unpacked. Nothing was run."
}

# verify BINARY VERSION DIR lets BINARY verify the release in DIR. No configuration file of the caller's
# project may have a part in this.
verify() {
  release=$2
  set -- "$1" verify-release --no-config --tag "v$2" "$3/imagegate_$2_$platform.$extension"
  if [ -n "${TRUSTED_ROOT:-}" ]; then set -- "$@" --trusted-root "$TRUSTED_ROOT"; fi
  quietly "$@" || status=$?
  if [ "$status" = 0 ]; then return; fi
  discard "$release"
  case $status in
    3) fail 3 "The release v$release was not verified, because verify-release was used incorrectly: see the log. The gate was not run." ;;
    *) fail 6 "The release v$release could not be verified: see the log. The gate was not run." ;;
  esac
}

# discard VERSION removes kept files that do not verify, so that the next run downloads them again.
discard() { rm -rf -- "${RUNNER_TOOL_CACHE:-$RUNNER_TEMP}/imagegate-releases/$1"; }

# pinned VERSION SHA256 fetches the release in the action and compares its SHA-256. A kept archive with
# another one is downloaded again.
pinned() {
  archive=$dir/$1/imagegate_$1_$platform.$extension
  fetch "$1" "$dir/$1"
  if [ "$(sha256 "$archive")" != "$2" ]; then
    discard "$1"
    rm -rf -- "${dir:?}/$1"
    fetch "$1" "$dir/$1"
  fi
  got=$(sha256 "$archive")
  [ "$got" = "$2" ] || fail 6 "The archive of the release v$1 has the SHA-256 $got, but the action expects $2. Nothing was run."
  unpack "$archive" "$dir/bin"
}

case ${RUNNER_OS:-} in
  Linux) os=linux ;;
  macOS) os=darwin ;;
  Windows) os=windows ;;
  *) os= ;;
esac
case ${RUNNER_ARCH:-} in
  X64) arch=amd64 ;;
  ARM64) arch=arm64 ;;
  *) arch= ;;
esac
platform=${os}_$arch extension=tar.xz program=imagegate
if [ "$os" = windows ]; then extension=zip program=imagegate.exe; fi

sum=
if [ -n "$os" ] && [ -n "$arch" ]; then
  sum=$(printenv "SHA256_$(printf %s "$platform" | tr '[:lower:]' '[:upper:]')" || true)
fi
wanted=${REQUESTED#v}
if [ -n "$wanted" ] && ! matches "$wanted" '[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?'; then
  fail 3 "The input version is not a version such as v1.2.3. Nothing was run."
fi

from=${INSTALL:-auto}
if [ "$from" = auto ]; then
  if [ -n "$VERSION" ] && [ -n "$sum" ]; then from=release; else from=source; fi
  if [ "$from" = source ] && [ -n "$VERSION" ]; then
    echo "::notice title=imagegate::There is no release for this runner, so imagegate is built from source."
  fi
fi
case $from in
  source)
    [ -z "$wanted" ] || fail 3 "The input version needs a release, but imagegate is built from source here. Nothing was run."
    ;;
  release)
    if [ -z "$VERSION" ] || [ -z "$sum" ]; then
      fail 3 "This commit of the action has no release for the runner: use install: source. Nothing was run."
    fi
    ;;
  *) fail 3 "The input install is neither auto nor release nor source. Nothing was run." ;;
esac

dir=$(mktemp -d "$RUNNER_TEMP/imagegate-XXXXXXXXXX")
source=$(cd "$(dirname "$0")/../.." && pwd)
mkdir "$dir/bin"
output from "$from"
output dir "$dir"
output source "$source"
output binary "$dir/bin/$program"
[ "$from" = release ] || exit 0

url=${RELEASE_URL:-https://github.com/imagegate/imagegate/releases/download}
url=${url%/}
if matches "$url" 'https://[^@[:space:]]+'; then
  protocol='=https'
elif matches "$url" 'http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/[^@[:space:]]*)?'; then
  protocol='=http'
else
  fail 3 "The input release-url is not an https URL. Nothing was run."
fi

for needed in curl od $([ "$os" = windows ] && echo unzip || echo tar) $([ "$os" != linux ] || echo xz); do
  command -v "$needed" >/dev/null || fail 3 "The program $needed is missing on the runner. Nothing was run."
done

pinned "$VERSION" "$sum"
verify "$dir/bin/$program" "$VERSION" "$dir/$VERSION"
keep "$VERSION" "$dir/$VERSION"
if [ -n "$wanted" ] && [ "$wanted" != "$VERSION" ]; then
  mkdir "$dir/pinned"
  mv "$dir/bin/$program" "$dir/pinned/$program"
  fetch "$wanted" "$dir/$wanted"
  verify "$dir/pinned/$program" "$wanted" "$dir/$wanted"
  keep "$wanted" "$dir/$wanted"
  unpack "$dir/$wanted/imagegate_${wanted}_$platform.$extension" "$dir/bin"
fi
