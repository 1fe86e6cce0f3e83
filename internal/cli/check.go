package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
)

func checkCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check an image against the policy, and write to no registry",
		ArgsUsage: "IMAGE",
		Description: "IMAGE is a registry's reference, or one of\n" +
			"  oci:PATH[:TAG]             an OCI layout\n" +
			"  oci-archive:FILE[:TAG]     the same in a tar file\n" +
			"  docker-archive:FILE[:REF]  what \"docker save\" writes\n" +
			"  docker-daemon:REF          an image of the local daemon",
		Flags:  []cli.Flag{policyFlag, platformFlag, outputFlag, cacheFlag, tempFlag, offlineFlag, logFlag, quietFlag},
		Action: func(c *cli.Context) error { return runCheck(c, s) },
	}
}

func runCheck(c *cli.Context, s Streams) (err error) {
	args, err := arguments(c, 1, 1, "one IMAGE")
	if err != nil {
		return err
	}
	src, err := gate.ParseSource(args[0])
	if err != nil {
		return usageError{err}
	}
	out, err := newOutput(c, s, "check", src)
	if err != nil {
		return err
	}
	defer func() { err = out.finish(c.Context, err) }()
	if err := checkPlatform(c); err != nil {
		return err
	}
	p, err := loadPolicy(c)
	if err != nil {
		return err
	}
	out.policy(p)
	db, err := openDatabase(c)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, db.Close()) }()
	g, err := newGate(c, p, db, out.progress)
	if err != nil {
		return err
	}
	result, err := g.Check(c.Context, src)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, result.Close()) }()
	out.result(result)
	if !result.Decision.Passed {
		return errDenied
	}
	return nil
}
