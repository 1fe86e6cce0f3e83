#!/bin/sh
# Writes the SPDX SBOM of an archive with syft: sbom.sh ARCHIVE DOCUMENT TIME. syft writes the current
# time and a random namespace. They become the TIME of the commit and the archive's own name, so that
# two builds give the same bytes.
set -eu
archive=$1 document=$2 time=$3
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked" "$unpacked.json"' EXIT
case $archive in
  *.zip) unzip -q "$archive" -d "$unpacked" ;;
  *) tar -xJf "$archive" -C "$unpacked" ;;
esac
name=$(basename "$archive")
SYFT_CHECK_FOR_APP_UPDATE=false "${SYFT:-syft}" scan "dir:$unpacked" --quiet --source-name "$name" --output "spdx-json=$unpacked.json"
jq --exit-status --arg time "$time" --arg name "$name" \
  '.creationInfo.created = $time | .documentNamespace = "https://github.com/imagegate/imagegate/sbom/" + $name' \
  "$unpacked.json" >"$document"
