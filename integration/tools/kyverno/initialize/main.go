// Command initialize configures the trusted Sigstore for the kyverno command of this user.
// Kyverno's admission controller has the flags --tufMirror and --tufRoot for this purpose; the
// kyverno command does not.
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
