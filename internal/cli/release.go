package cli

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/release"
	"github.com/imagegate/imagegate/internal/report"
)

func verifyReleaseCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "verify-release",
		Usage:     "prove that files are from a release of imagegate",
		ArgsUsage: "FILE...",
		Description: "Proves that the release workflow of imagegate built and signed each FILE. FILE must have its\n" +
			"original name, with " + release.Checksums + ", " + release.Signature + " and\n" + release.Provenance + " of the release in the same folder.\n\n" +
			"The signature must be by the workflow for exactly this tag. Without --trusted-root, the root of\n" +
			"the public Sigstore comes from the network.",
		// The flags for the Sigstore have no variables. The variables are for the Sigstore of images,
		// which may be a private one.
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "tag", Usage: "require that FILE belongs to the release with the Git tag `TAG`, such as v1.2.3"},
			&cli.StringFlag{Name: "source", Value: release.Source, DefaultText: release.Source, Usage: "require that FILE was built from the GitHub repository `REPOSITORY`"},
			&cli.StringFlag{Name: "trusted-root", Usage: "verify the signatures with the Sigstore trusted root in `FILE`"},
			&cli.StringFlag{Name: "tuf-mirror", Usage: "get the trusted root from the TUF repository at `URL` (default: the public Sigstore)"},
			&cli.StringFlag{Name: "tuf-root", Usage: "trust the TUF root metadata in `FILE`; needs --tuf-mirror (default: the root of the public Sigstore)"},
			cacheFlag, sharedFlag},
		Action: func(c *cli.Context) error { return runVerifyRelease(c, s) },
	}
}

func runVerifyRelease(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 100, "at least one FILE")
	if err != nil {
		return err
	}
	r := release.Release{Source: c.String("source"), Tag: c.String("tag")}
	if r.Tag == "" {
		return exit.Usagef("--tag is missing: use --tag v1.2.3")
	}
	if err := r.Check(); err != nil {
		return exit.Usage(err)
	}
	for _, path := range args {
		if _, err := os.Stat(path); err != nil {
			return exit.Usage(&exit.FileError{What: "file of the release", Path: path, Err: err})
		}
	}
	root, err := trustedRoot(c, true, "")
	if err != nil {
		return err
	}
	files, err := r.Verify(args, root)
	if err != nil {
		return exit.Trust(err)
	}
	for _, f := range files {
		fmt.Fprintf(s.Out, "verified %s: release %s of %s, commit %s, signed %s\n", report.Sanitize(f.Name), r.Tag, r.Source,
			report.Sanitize(f.Commit), f.SignedAt.UTC().Format("2006-01-02 15:04 MST"))
	}
	return nil
}
