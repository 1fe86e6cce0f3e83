# The targets for contributors. "make" alone lists them.
.DEFAULT_GOAL := help
GO ?= go
BIN := $(CURDIR)/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-zA-Z_-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/imagegate
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/imagegate .

.PHONY: install
install: ## install imagegate into Go's bin folder
	CGO_ENABLED=0 $(GO) install -trimpath .

.PHONY: demo
demo: ## deny a vulnerable image, then promote and verify the fixed one, with two local registries
	@echo "building (some minutes the first time)"
	@CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/ . ./examples/demo
	@$(BIN)/demo -imagegate $(BIN)/imagegate -records examples/records -policy examples/policies/demo.yaml

.PHONY: test
test: ## run every test with the race detector
	$(GO) test -race -timeout 40m ./...

.PHONY: test-crash
test-crash: ## crash imagegate with crafted files, and check that only a denial exits with code 2 (some minutes)
	IMAGEGATE_TEST_CRASH=1 $(GO) test -count=1 -timeout 30m -run 'TestOnlyADenialExits2|TestLittleMemory|TestCrashOfChild|TestChildEnds|TestSecondInterrupt' -v ./integration

.PHONY: test-cosign
test-cosign: ## build the real cosign command and verify promoted images with it
	cd integration/tools/cosign && $(GO) build -o $(BIN)/cosign github.com/sigstore/cosign/v2/cmd/cosign
	IMAGEGATE_TEST_COSIGN=$(BIN)/cosign $(GO) test -count=1 -run 'TestCosign' -v ./integration

.PHONY: test-formats
test-formats: ## validate the report formats with schemas and programs of other vendors; IMAGEGATE_TEST_SCHEMAS is the folder with more schemas
	npm install --silent --no-audit --no-fund --prefix $(BIN)/formats @microsoft/sarif-multitool-linux@5.7.0
	chmod u+x $(BIN)/formats/node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool
	IMAGEGATE_TEST_SARIF=$(BIN)/formats/node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool \
		$(GO) test -count=1 -run 'Valid|SatisfiesGitHub' -v ./internal/formats

.PHONY: test-gitlab
test-gitlab: ## run the GitLab component with gitlab-ci-local, with real registries and a signed release; needs rsync
	npm install --silent --no-audit --no-fund --prefix $(BIN)/gitlab gitlab-ci-local@4.72.0
	IMAGEGATE_TEST_GITLAB=$(BIN)/gitlab/node_modules/.bin/gitlab-ci-local \
		$(GO) test -count=1 -timeout 20m -run 'TestCIGitLab|TestCIInstall' -v ./integration

.PHONY: test-examples
test-examples: ## validate the examples for CI systems with the schema of Argo Workflows and a parser of Groovy; needs Java
	npm install --silent --no-audit --no-fund --prefix $(BIN)/examples npm-groovy-lint@15.2.0
	cd integration/tools/argo && $(GO) mod download
	IMAGEGATE_TEST_GROOVY=$(BIN)/examples/node_modules/.bin/npm-groovy-lint \
		IMAGEGATE_TEST_ARGO=$$(cd integration/tools/argo && $(GO) list -m -f '{{.Dir}}' github.com/argoproj/argo-workflows/v4) \
		$(GO) test -count=1 -run 'TestCIExamplesFollow|TestCIJenkinsfile' -v ./integration

.PHONY: test-actions
test-actions: ## validate both GitHub actions with the schema of their files
	npm install --silent --no-audit --no-fund --prefix $(BIN)/actions @action-validator/cli@0.6.0 @action-validator/core@0.6.0
	for file in action.yml .github/actions/verify/action.yml; do $(BIN)/actions/node_modules/.bin/action-validator $$file || exit 1; done

.PHONY: bench-action
bench-action: ## measure the time that the action needs to install a kept release; it must be at most five seconds
	IMAGEGATE_TEST_TIME=1 $(GO) test -count=1 -run TestCIActionInstallsARelease -v ./integration

.PHONY: test-act
test-act: ## build act, and run both GitHub actions with a release under it
	cd integration/tools/act && $(GO) build -trimpath -o $(BIN)/act github.com/nektos/act
	IMAGEGATE_TEST_ACT=$(BIN)/act $(GO) test -count=1 -run TestCIUnderAct -v ./integration

.PHONY: test-sigstore
test-sigstore: ## build the real Fulcio and Rekor and sign with identities, using them
	cd integration/sigstore && $(GO) test -count=1 -timeout 20m ./...

.PHONY: test-interleave
test-interleave: ## stop one of two promoters before each of its requests and run the other (a quarter of an hour)
	IMAGEGATE_TEST_INTERLEAVE=all $(GO) test -count=1 -timeout 60m -run TestOlderDecisionNeverReplacesANewerOne -v ./promote

.PHONY: test-unpack
test-unpack: ## compare the files that container runtimes unpack with the files that imagegate scans, for UNPACK_STACKS (default 2000) random images; needs root
	cd integration/unpack && UNPACK_STACKS=$${UNPACK_STACKS:-2000} $(GO) test -count=1 -timeout 30m

.PHONY: test-consumers
test-consumers: ## build third-party verifiers and signing services, and verify promoted images with each verifier
	cd integration/tools/cosign && $(GO) build -o $(BIN)/consumers/cosign github.com/sigstore/cosign/v2/cmd/cosign
	for program in cosign3 policy-tester kyverno slsa-verifier oras; do \
		(cd integration/tools/$$program && $(GO) build -o $(BIN)/consumers/$$program $$($(GO) list tool)) || exit 1; done
	cd integration/tools/kyverno && $(GO) build -o $(BIN)/consumers/kyverno-initialize ./initialize
	cd integration/tools/vault && $(GO) build -o $(BIN)/consumers/vault .
	cd integration/sigstore && $(GO) test -c -o $(BIN)/consumers/sigstore.test .
	IMAGEGATE_TEST_CONSUMERS=$(BIN)/consumers $(GO) test -count=1 -timeout 30m -run 'TestConsumers|TestKeyOfAVault' -v ./integration

.PHONY: test-release
test-release: release-programs ## build the release for this machine twice, compare the builds, and verify the signed files with imagegate, cosign and slsa-verifier
	cd integration/tools/cosign && $(GO) build -o $(BIN)/consumers/cosign github.com/sigstore/cosign/v2/cmd/cosign
	cd integration/tools/cosign3 && $(GO) build -o $(BIN)/consumers/cosign3 $$($(GO) list tool)
	cd integration/tools/slsa-verifier && $(GO) build -o $(BIN)/consumers/slsa-verifier-attestation ./attestation
	cd integration/tools/image && $(GO) test ./...
	IMAGEGATE_TEST_RELEASE_PROGRAMS=$(BIN)/release IMAGEGATE_TEST_RELEASE=$(BIN)/release/files \
		$(GO) test -count=1 -timeout 30m -v ./integration/release
	IMAGEGATE_TEST_CONSUMERS=$(BIN)/consumers IMAGEGATE_TEST_RELEASE=$(BIN)/release/files $(GO) test -count=1 -v ./integration/release/sign

integration/html/node_modules: integration/html/package-lock.json
	cd integration/html && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: test-html
test-html: integration/html/node_modules ## test the HTML report in Chromium: with mouse and keyboard, without scripts, and its accessibility with axe
	cd integration/html && GO=$(GO) node --test --test-reporter=spec page.test.mjs

.PHONY: bench-html
bench-html: integration/html/node_modules ## measure the HTML report with 20,000 findings in Chromium
	cd integration/html && GO=$(GO) node bench.mjs

.PHONY: images
images: integration/html/node_modules ## update the screenshots of the HTML report in docs/images; needs fonts-inter, fonts-jetbrains-mono and pngquant
	cd integration/html && GO=$(GO) node images.mjs ../../docs/images

.PHONY: test-parity
test-parity: ## compare packages and findings of a Debian root file system with the results of syft and grype
	./integration/parity.sh $(BIN)

# The programs for test-corpus. The benchmark uses the same folder, so they are linked only once.
.PHONY: scanners
scanners:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/bench/imagegate .
	for program in anchore/syft/cmd/syft anchore/grype/cmd/grype; do \
		(cd integration/tools/pipeline && $(GO) build -trimpath -o $(BIN)/bench/ github.com/$$program) || exit 1; done

.PHONY: test-corpus
test-corpus: scanners ## check look-alikes of popular images with the starter policy (the first run takes half an hour, later runs ten minutes)
	IMAGEGATE_TEST_CORPUS=$(BIN)/corpus IMAGEGATE_TEST_PROGRAMS=$(BIN)/bench $(GO) test -count=1 -timeout 90m -v ./integration/corpus

.PHONY: corpus-short
corpus-short: scanners ## run test-corpus with six of the images (some minutes)
	IMAGEGATE_TEST_CORPUS=$(BIN)/corpus IMAGEGATE_TEST_PROGRAMS=$(BIN)/bench $(GO) test -count=1 -timeout 30m -short -v ./integration/corpus

# The manual pages and completion scripts that archives and packages contain.
.PHONY: release-extras
release-extras: build
	rm -rf $(BIN)/extras && mkdir -p $(BIN)/extras/man $(BIN)/extras/completions
	$(BIN)/imagegate man --dir $(BIN)/extras/man
	for shell in bash zsh fish powershell; do \
		$(BIN)/imagegate completion $$shell >$(BIN)/extras/completions/imagegate.$$shell || exit 1; done

# The programs that build a release.
.PHONY: release-programs
release-programs:
	cd integration/tools/goreleaser && $(GO) build -trimpath -o $(BIN)/release/ github.com/goreleaser/goreleaser/v2
	cd integration/tools/pipeline && $(GO) build -trimpath -o $(BIN)/release/ github.com/anchore/syft/cmd/syft
	cd integration/tools/image && $(GO) build -trimpath -o $(BIN)/release/image .

# The container image of the binaries in dist for PLATFORMS, as an OCI image layout.
PLATFORMS ?= linux/amd64,linux/arm64
.PHONY: release-image
release-image:
	@test -n "$(VERSION)" || { echo "VERSION is missing: make release-image VERSION=v1.2.3"; exit 1; }
	rm -rf dist/image
	$(BIN)/release/image -dist dist -o dist/image -platforms $(PLATFORMS) -version "$(VERSION)" -commit "$$(git rev-parse HEAD)" \
		-time "$$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ)"

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 1m)
	@set -e; for pkg in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
		echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-1m} $$pkg; done; done

.PHONY: bench-programs
bench-programs: scanners
	cd integration/tools/pipeline && $(GO) build -trimpath -o $(BIN)/bench/ github.com/google/go-containerregistry/cmd/crane
	cd integration/tools/cosign && $(GO) build -trimpath -o $(BIN)/bench/cosign github.com/sigstore/cosign/v2/cmd/cosign
	$(GO) build -o $(BIN)/bench/bench ./integration/bench

# Trivy, and the program that writes its database. Trivy needs Go's experimental JSON package.
.PHONY: bench-trivy
bench-trivy:
	cd integration/tools/trivy && GOEXPERIMENT=jsonv2 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/bench/trivy $$($(GO) list tool)
	cd integration/tools/trivy && GOEXPERIMENT=jsonv2 $(GO) build -trimpath -o $(BIN)/bench/trivy-database ./database

.PHONY: bench
bench: bench-programs bench-trivy ## compare imagegate with Trivy and with a shell pipeline of syft, grype, crane and cosign, and update docs/performance.md (about an hour)
	$(BIN)/bench/bench -bin $(BIN)/bench -work $(BIN)/bench/work -o $(BIN)/bench/results.json -docs docs/performance.md $(BENCHFLAGS)

.PHONY: bench-small
bench-small: bench-programs ## run the benchmark once with the small image, and write bin/bench/table.md
	$(BIN)/bench/bench -bin $(BIN)/bench -work $(BIN)/bench/work -image small -short -n 1 -o $(BIN)/bench/results.json -table $(BIN)/bench/table.md

.PHONY: test-docs
test-docs: bench-programs ## run the commands of the tutorial and of the pages for users of other tools, also with their old files
	cd integration/tools/lint && $(GO) build -o $(BIN)/bench/ github.com/rhysd/actionlint/cmd/actionlint
	IMAGEGATE_TEST_DOCS=$(BIN)/bench $(GO) test -trimpath -count=1 -run 'TestTutorial|TestComingFrom|InDocuments|DocumentBlocks|OfDocuments' -v ./integration

.PHONY: bench-go
bench-go: ## run the Go benchmarks of each stage
	$(GO) test -run '^$$' -bench . -benchmem ./policy ./policy/internal/custom ./gate ./gate/layers

.PHONY: profile
profile: ## check the benchmark's big image, and write a processor profile to bin/cpu.pprof
	IMAGEGATE_BENCH_IMAGE=oci:$$(ls -d $(BIN)/bench/work/big-*/oci) $(GO) test ./gate -run '^$$' -bench 'BenchmarkCheck$$' \
		-benchtime 4x -cpuprofile $(BIN)/cpu.pprof -o $(BIN)/gate.test

# The documents and comments that Vale reads.
PROSE = README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md $(wildcard docs/*.md docs/*/*.md) $(shell git ls-files '*.go')

.PHONY: lint
lint: ## run go vet, gofmt, golangci-lint, actionlint, shellcheck if it is installed, and Vale over documents and comments, at pinned versions
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	cd integration/tools/lint && $(GO) build -o $(BIN)/ github.com/rhysd/actionlint/cmd/actionlint
	@# In the place of a caller's project, so that it reads action.yml as well.
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && mkdir -p $$dir/.git $$dir/.github/workflows $$dir/imagegate && \
		cp -r action.yml .github $$dir/imagegate && cp examples/ci/*.github.yml .github/workflows/*.yml $$dir/.github/workflows && \
		cd $$dir && $(BIN)/actionlint -shellcheck= -pyflakes=
	@if command -v shellcheck >/dev/null; then shellcheck .github/actions/*.sh; fi
	cd integration/tools/golangci && $(GO) build -o $(BIN)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BIN)/golangci-lint run ./...
	cd integration/tools/vale && $(GO) build -o $(BIN)/ github.com/vale-cli/vale/v3/cmd/vale
	@$(BIN)/vale --config integration/tools/vale/vale.ini --output line $(PROSE)
	@! $(BIN)/vale --config integration/tools/vale/vale.ini --output line integration/tools/vale/planted.txt >/dev/null || \
		{ echo "Vale accepts integration/tools/vale/planted.txt, which it must refuse"; exit 1; }

.PHONY: clean
clean: ## remove all built files
	rm -rf $(BIN)
