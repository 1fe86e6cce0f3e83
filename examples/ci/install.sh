#!/bin/sh
# This script installs a release of imagegate into an existing folder: "./install.sh FOLDER". It needs
# Linux, a POSIX shell, tar, sha256sum, and curl or wget. If xzcat is missing, it installs xz with apk
# or apt-get.
#
# Variables:
#   GATE_VERSION       tag of the release, such as v1.2.3
#   GATE_SHA256_AMD64  SHA-256 of imagegate_1.2.3_linux_amd64.tar.xz, from a source that you trust
#   GATE_SHA256_ARM64  the same for arm64. Only the sum for this machine is needed
#   GATE_RELEASE_URL   folder with a subfolder for each tag (default: the releases on GitHub)
#   GATE_TRUSTED_ROOT  Sigstore trusted root, as a file (default: downloaded from Sigstore)
#
# The SHA-256 is checked before anything of the archive runs. The installed program then checks the
# signature and the provenance of the release. Exit codes:
#
#   3  invalid variables, or a program is missing
#   4  the download failed: worth a retry
#   6  the release is not the expected one
folder=${1-}
releases=${GATE_RELEASE_URL:-https://github.com/imagegate/imagegate/releases/download}

fail() {
  echo "install.sh: $2" >&2
  exit "$1"
}

# fetch downloads a file of the release to the folder.
fetch() {
  if command -v curl >/dev/null; then
    curl -fsSL --connect-timeout 20 --max-time 300 -o "$folder/$1" "$releases/$GATE_VERSION/$1"
  else
    wget -q -O "$folder/$1" "$releases/$GATE_VERSION/$1"
  fi || fail 4 "downloading $releases/$GATE_VERSION/$1 failed"
}

[ -d "$folder" ] || fail 3 "usage: install.sh FOLDER"
case ${GATE_VERSION-} in
  *[!A-Za-z0-9.+-]* | '') fail 3 "GATE_VERSION is not a tag such as v1.2.3" ;;
  v[0-9]*) ;;
  *) fail 3 "GATE_VERSION is not a tag such as v1.2.3" ;;
esac
case $(uname -s)-$(uname -m) in
  Linux-x86_64) arch=amd64 want=${GATE_SHA256_AMD64-} variable=GATE_SHA256_AMD64 ;;
  Linux-aarch64) arch=arm64 want=${GATE_SHA256_ARM64-} variable=GATE_SHA256_ARM64 ;;
  *) fail 3 "no release for $(uname -s) on $(uname -m)" ;;
esac
[ -n "$want" ] || fail 3 "$variable is not set"
if ! command -v xzcat >/dev/null; then
  if command -v apk >/dev/null; then
    apk add --quiet --no-cache xz
  elif command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -qq -y --no-install-recommends xz-utils >/dev/null
  else
    fail 3 "the program xzcat is missing"
  fi || fail 4 "installing xz failed"
fi

archive=imagegate_${GATE_VERSION#v}_linux_$arch.tar.xz
for name in "$archive" checksums.txt checksums.txt.sigstore.json provenance.sigstore.json; do
  fetch "$name"
done
sum=$(sha256sum "$folder/$archive") || fail 4 "reading $archive failed"
[ "${sum%% *}" = "$want" ] || fail 6 "$archive has the SHA-256 ${sum%% *}, not $want"
xzcat "$folder/$archive" >"$folder/imagegate.tar" || fail 6 "decompressing $archive failed"
tar -x -f "$folder/imagegate.tar" -C "$folder" imagegate || fail 6 "$archive has no file imagegate"
rm -f "$folder/imagegate.tar"

set -- verify-release --no-config --tag "$GATE_VERSION"
if [ -n "${GATE_TRUSTED_ROOT-}" ]; then set -- "$@" --trusted-root "$GATE_TRUSTED_ROOT"; fi
code=0
"$folder/imagegate" "$@" "$folder/$archive" || code=$?
if [ "$code" != 0 ]; then
  rm -f "$folder/imagegate"
  [ "$code" != 2 ] || code=6 # 2 means denied, and only the gate denies
  fail "$code" "the release was not verified"
fi
rm -f "$folder/$archive"
