// Command initialize tells the Kyverno of this user whose Sigstore to believe, as
// the admission controller's flags --tufMirror and --tufRoot do; Kyverno's command
// line has none.
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
