package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/doctorcmd"
	"github.com/imagegate/imagegate/internal/trust"
)

func doctorCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "find problems of the setup before a run does",
		ArgsUsage: "[STAGING [APPROVED...]]",
		Description: "Checks registries, key, policies, database, clock, disk, cache and network, and prints the\n" +
			"command that fixes each problem. Without references it checks only this machine.\n\n" +
			"To prove the right to write to APPROVED, doctor starts an upload and cancels it. The exit code\n" +
			"is 0 if no check fails. Otherwise it is the code of a run that has the first failed problem.",
		Flags: []cli.Flag{policyFlag, keyFlag("sign a sample text with `KEY`, to test it. KEY is a file in cosign's format or plain PEM, or awskms://, gcpkms://, azurekms://, hashivault://"),
			keylessFlag, identityTokenFlag, signingConfigFlag, trustedRootFlag, tufMirrorFlag, tufRootFlag, insecureFlag, doctorcmd.OutputFlag,
			cacheFlag, tempFlag, sharedFlag, offlineFlag, feedFlag, plainFeedFlag},
		Action: func(c *cli.Context) error { return runDoctor(c, s) },
	}
}

func runDoctor(c *cli.Context, s Streams) error {
	reach, err := registryAccess(c)
	if err != nil {
		return err
	}
	return doctorcmd.Run(c, s.Out, doctorcmd.Loaders{
		Keychain: reach.keychain, Transport: reach.transport, UserAgent: userAgent(), Login: loginsOf(c.App).Describe,
		TempDir: tempDir, CacheDir: cacheDir, DatabaseDir: databaseDir, Policies: loadPolicies, Services: loadServices,
		Cache:         existingCache,
		Root:          func(c *cli.Context, dir string) (*trust.Root, error) { return trustedRoot(c, false, dir) },
		Key:           func(c *cli.Context) (trust.Key, error) { return loadKey(c, s) },
		Token:         func(c *cli.Context) (trust.TokenSource, error) { return tokenSource(c, Streams{}, "") },
		IsInteractive: atTerminal(s),
	})
}
