#!/usr/bin/env bash
# Makes a Debian root file system with npm modules and Go programs, and packs it
# in the format of "docker save". Then the tests of package gate compare the
# gate's packages and findings with the results of syft's and grype's own code.
# Needs mmdebstrap, npm and Go, and root or user namespaces.
#
#   integration/parity.sh WORKDIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)/parity
suite=${SUITE:-bookworm}
image=$work/debian.tar

if [ ! -f "$image" ]; then
  rm -rf "$work" && mkdir -p "$work/layer2"
  echo "parity: making a Debian root file system"
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,openssl,curl,git,python3,perl,jq,linux-libc-dev \
    "$suite" "$work/layer1.tar"

  echo "parity: adding npm modules and Go programs"
  app=$work/layer2/srv/app
  mkdir -p "$app" "$work/layer2/usr/local/bin"
  (cd "$app" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund \
    json-schema@0.3.0 @babel/traverse@7.22.20 http-cache-semantics@4.1.0 ip@2.0.1 express@4 >/dev/null)
  (cd "$work" && mkdir gomod && cd gomod && go mod init example.com/program >/dev/null 2>&1 &&
    printf 'package main\n\nimport (\n\t"fmt"\n\n\t"github.com/tidwall/gjson"\n)\n\nfunc main() { fmt.Println(gjson.Get(`{"a":1}`, "a.#(b>1)#")) }\n' > main.go &&
    go get github.com/tidwall/gjson@v1.9.2 >/dev/null 2>&1 &&
    CGO_ENABLED=0 go build -o "$work/layer2/usr/local/bin/program" .)
  cp "$(go env GOROOT)/bin/gofmt" "$work/layer2/usr/local/bin/"
  tar -C "$work/layer2" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer2.tar" .

  diff1=$(sha256sum "$work/layer1.tar" | cut -d' ' -f1)
  diff2=$(sha256sum "$work/layer2.tar" | cut -d' ' -f1)
  mkdir "$work/save"
  mv "$work/layer1.tar" "$work/save/layer1.tar" && mv "$work/layer2.tar" "$work/save/layer2.tar"
  printf '{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s"]}}' \
    "$diff1" "$diff2" > "$work/save/config.json"
  printf '[{"Config":"config.json","RepoTags":["parity:1"],"Layers":["layer1.tar","layer2.tar"]}]' > "$work/save/manifest.json"
  tar -C "$work/save" -cf "$image" manifest.json config.json layer1.tar layer2.tar
  rm -rf "$work/save" "$work/layer2" "$work/gomod"
fi

cd "$here/.."
IMAGEGATE_TEST_IMAGE=$image go test -count=1 -v -timeout 20m -run 'TestPackagesEqual|TestFindingsEqual' ./gate
