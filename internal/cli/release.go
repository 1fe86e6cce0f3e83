package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/releasecmd"
	"github.com/imagegate/imagegate/internal/release"
	"github.com/imagegate/imagegate/internal/trust"
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
		Flags: append([]cli.Flag{cacheFlag, sharedFlag}, releasecmd.Flags...),
		Action: func(c *cli.Context) error {
			files, err := arguments(c, 1, 100, "at least one FILE")
			if err != nil {
				return err
			}
			return releasecmd.Run(c, s.Out, files, func(c *cli.Context) (*trust.Root, error) { return trustedRoot(c, true, "") })
		},
	}
}
