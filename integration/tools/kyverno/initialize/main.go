// Command initialize sets the trusted Sigstore for this user's Kyverno, as the admission controller
// does with --tufMirror and --tufRoot. Kyverno's command line has no such flags.
//
//	TUF_ROOT=DIR initialize URL ROOT
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/tuf"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(mirror, path string) error {
	root, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return tuf.Initialize(context.Background(), mirror, root)
}
