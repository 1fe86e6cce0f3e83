// Command attestation runs "slsa-verifier verify-github-attestation" with another Sigstore and
// another builder. The slsa-verifier command accepts only the public Sigstore and the builders on a
// list in its code. The verification itself is the unmodified code of slsa-verifier.
//
//	attestation -tuf-mirror URL -tuf-root FILE -trusted-builder NAME \
//	    -attestation-path FILE -source-uri URI -builder-id ID ARTIFACT
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"sync"
	"unsafe"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/slsa-framework/slsa-verifier/v2/cli/slsa-verifier/verify"
)

// trustedRoot is the trusted root of slsa-verifier, which it loads once.
//
//go:linkname trustedRoot github.com/slsa-framework/slsa-verifier/v2/verifiers/utils.trustedRoot
var trustedRoot *root.LiveTrustedRoot

//go:linkname trustedRootOnce github.com/slsa-framework/slsa-verifier/v2/verifiers/utils.trustedRootOnce
var trustedRootOnce *sync.Once

// buildTypes has the build types of each known builder. The values are functions of an internal
// type, which this command only copies.
//
//go:linkname buildTypes github.com/slsa-framework/slsa-verifier/v2/verifiers/internal/gha/slsaprovenance/v1%2e0.buildTypeMap
var buildTypes map[string]map[string]unsafe.Pointer

// knownBuilder is a builder on slsa-verifier's list whose provenance GitHub's action "attest" writes.
const knownBuilder = "https://github.com/bazel-contrib/.github/.github/workflows/release_ruleset.yaml"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("attestation", flag.ContinueOnError)
	mirror := flags.String("tuf-mirror", "", "the `URL` of the TUF repository")
	initial := flags.String("tuf-root", "", "the `FILE` with the initial root metadata")
	builder := flags.String("trusted-builder", "", "add the builder `NAME` to the list of known builders")
	attestation := flags.String("attestation-path", "", "the `FILE` with the bundle")
	source := flags.String("source-uri", "", "the `URI` of the source repository")
	id := flags.String("builder-id", "", "the `ID` of the builder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("want one artifact")
	}
	if err := trust(*mirror, *initial); err != nil {
		return err
	}
	known, ok := buildTypes[knownBuilder]
	if !ok {
		return fmt.Errorf("slsa-verifier does not know the builder %s", knownBuilder)
	}
	if *builder != "" {
		buildTypes[*builder] = maps.Clone(known)
	}
	command := verify.VerifyGithubAttestationCommand{AttestationPath: *attestation, SourceURI: *source, BuilderID: id}
	_, err := command.Exec(context.Background(), flags.Arg(0))
	return err
}

// trust makes slsa-verifier trust the Sigstore of a TUF repository.
func trust(mirror, path string) error {
	initial, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	private, err := root.NewLiveTrustedRoot(tuf.DefaultOptions().WithRepositoryBaseURL(mirror).WithRoot(initial))
	if err != nil {
		return err
	}
	trustedRootOnce.Do(func() { trustedRoot = private })
	return nil
}
