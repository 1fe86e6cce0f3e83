// Package releasecmd implements "imagegate verify-release": it verifies files with package release, and
// writes what it verified.
package releasecmd

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/release"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
)

// Flags are the flags of the command. The flags for the Sigstore have no variables. The variables are
// for the Sigstore of images, which may be a private one.
var Flags = []cli.Flag{
	&cli.StringFlag{Name: "tag", Usage: "require that FILE belongs to the release with the Git tag `TAG`, such as v1.2.3"},
	&cli.StringFlag{Name: "source", Value: release.Source, DefaultText: release.Source, Usage: "require that FILE was built from the GitHub repository `REPOSITORY`"},
	&cli.StringFlag{Name: "trusted-root", Usage: "verify the signatures with the Sigstore trusted root in `FILE`"},
	&cli.StringFlag{Name: "tuf-mirror", Usage: "get the trusted root from the TUF repository at `URL` (default: the public Sigstore)"},
	&cli.StringFlag{Name: "tuf-root", Usage: "trust the TUF root metadata in `FILE`; needs --tuf-mirror (default: the root of the public Sigstore)"},
}

// Run verifies files with the trusted root that root loads, and writes a line for each of them to w.
func Run(c *cli.Context, w io.Writer, files []string, root func(*cli.Context) (*trust.Root, error)) error {
	r := release.Release{Source: c.String("source"), Tag: c.String("tag")}
	if r.Tag == "" {
		return exit.Usagef("--tag is missing: use --tag v1.2.3")
	}
	if err := r.Check(); err != nil {
		return exit.Usage(err)
	}
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			return exit.Usage(&exit.FileError{What: "file of the release", Path: path, Err: err})
		}
	}
	trusted, err := root(c)
	if err != nil {
		return err
	}
	verified, err := r.Verify(files, trusted)
	if err != nil {
		return exit.Trust(err)
	}
	for _, f := range verified {
		fmt.Fprintf(w, "verified %s: release %s of %s, commit %s, signed %s\n", report.Sanitize(f.Name), r.Tag, r.Source,
			report.Sanitize(f.Commit), f.SignedAt.UTC().Format("2006-01-02 15:04 MST"))
	}
	return nil
}
