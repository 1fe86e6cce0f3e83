package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/password"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/trust"
)

func keyCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "manage signing keys",
		Subcommands: []*cli.Command{{
			Name:      "generate",
			Usage:     "generate a key pair in cosign's format",
			ArgsUsage: "[PREFIX]",
			Description: "Writes the encrypted private key to PREFIX.key and the public key to PREFIX.pub. Default PREFIX:\n" +
				"cosign. The password comes from COSIGN_PASSWORD or from a prompt. Existing files are not\n" +
				"overwritten.",
			Action: func(c *cli.Context) error { return runKeyGenerate(c, s) },
		}, {
			Name:      "public",
			Usage:     "print the public key of a private key",
			ArgsUsage: "KEY",
			Description: "Prints the public key in PEM form, for \"imagegate verify --key\" and for the admission policy of a\n" +
				"cluster. KEY is the file of a private key, or a key in a key management service: awskms://,\n" +
				"gcpkms://, azurekms://, hashivault://. The password of an encrypted file comes from\n" +
				"COSIGN_PASSWORD.",
			Action: func(c *cli.Context) error { return runKeyPublic(c, s) },
		}},
	}
}

func runKeyGenerate(c *cli.Context, s Streams) error {
	args, err := arguments(c, 0, 1, "at most one PREFIX")
	if err != nil {
		return err
	}
	prefix := "cosign"
	if len(args) == 1 {
		prefix = args[0]
	}
	for _, path := range []string{prefix + ".key", prefix + ".pub"} {
		if _, err := os.Lstat(path); err == nil {
			return exit.Usagef("%q already exists and is not overwritten", path)
		}
	}
	secret, err := password.New(c.Context, s.In, s.Err)
	if err != nil {
		return exit.Trust(err)
	}
	private, public, err := trust.GenerateKey(secret)
	if err != nil {
		return exit.Trust(fmt.Errorf("generating a key: %w", err))
	}
	if err := disk.WriteNew(prefix+".key", 0o600, private); err != nil {
		return err
	}
	if err := disk.WriteNew(prefix+".pub", 0o644, public); err != nil {
		return errors.Join(err, os.Remove(prefix+".key"))
	}
	if len(secret) == 0 {
		fmt.Fprintf(s.Err, "imagegate: warning: %s is not protected by a password\n", report.Sanitize(prefix+".key"))
	}
	fmt.Fprintf(s.Out, "wrote %s and %s\n", report.Sanitize(prefix+".key"), report.Sanitize(prefix+".pub"))
	return nil
}

func runKeyPublic(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one KEY")
	if err != nil {
		return err
	}
	key, err := openKey(c, s, args[0])
	if err != nil {
		return err
	}
	public, err := trust.EncodePublicKey(key.PublicKey())
	if err != nil {
		return exit.Trust(fmt.Errorf("writing the public key of %q: %w", args[0], err))
	}
	_, err = s.Out.Write(public)
	return err
}
