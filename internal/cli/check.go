package cli

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/run"
)

func checkCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check an image against the policy, without promoting it",
		ArgsUsage: "IMAGE",
		Description: "IMAGE is a reference in a registry, or one of\n" +
			"  oci:PATH[:TAG]             an OCI layout\n" +
			"  oci-archive:FILE[:TAG]     an OCI layout in a tar file\n" +
			"  docker-archive:FILE[:REF]  the output of \"docker save\"\n" +
			"  docker-daemon:REF          an image of the local daemon",
		Flags: append([]cli.Flag{policyFlag, insecureFlag, vexFlag, platformFlag, outputFlag, auditFlag, metricsFlag, detailsFlag, cacheFlag, cacheMaxFlag, tempFlag, sharedFlag, offlineFlag, logFlag, progressFlag, colorFlag, quietFlag,
			&cli.StringFlag{Name: "baseline", EnvVars: []string{"IMAGEGATE_BASELINE"}, Usage: "use the image `APPROVED` as the baseline, if the policy has \"baseline: approved\""},
			keyFlag("with --baseline: verify the signature of the baseline image with `KEY`: public keys in a PEM file, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.StringFlag{Name: "at", EnvVars: []string{"IMAGEGATE_AT"}, Usage: "evaluate as of `TIME`, such as 2026-12-31 or 30d, to see what will block then"}}, identityFlags...),
		Action: func(c *cli.Context) error { return runCheck(c, s) },
	}
}

func runCheck(c *cli.Context, s Streams) (err error) {
	args, err := arguments(c, 1, 1, "one IMAGE")
	if err != nil {
		return err
	}
	src, err := reference.Source(args[0])
	if err != nil {
		return exit.Usage(err)
	}
	out, err := newOutput(c, s, "check", src)
	if err != nil {
		return err
	}
	defer out.Finish(c.Context, &err)
	if err := checkPlatform(c); err != nil {
		return err
	}
	job, done, err := newCheck(c, out)
	if err != nil {
		return err
	}
	defer func() { err = run.JoinCleanup(err, done()) }()
	passed, err := job.Run(c.Context, src, &out.Report)
	if err == nil && !passed {
		return exit.ErrDenied
	}
	return err
}

// newCheck builds the job from the flags. The caller must call done at the end.
func newCheck(c *cli.Context, out *output.Writer) (_ *run.Check, done func() error, err error) {
	job := run.Check{Cataloged: out.Cataloged}
	if job.Baseline, err = baselineFlag(c); err != nil {
		return nil, nil, err
	}
	if job.Evidence, err = newEvidence(c, out); err != nil {
		return nil, nil, withDatabase(c, exit.Inputs{err})
	}
	db, err := openDatabase(c)
	if err != nil {
		return nil, nil, err
	}
	if job.At, err = laterTime(c.String("at"), time.Now()); err == nil {
		job.Gate, err = newGate(c, job.Policies, db, out.Progress, time.Now, job.At)
	}
	if err != nil {
		return nil, nil, run.JoinCleanup(err, db.Close())
	}
	return &job, db.Close, nil
}

// laterTime parses --at. If s is empty, it returns the zero time, which means now. A time that is
// not in the future is a usage error.
func laterTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := flags.Instant(s, now)
	switch {
	case err != nil:
		return time.Time{}, exit.Usagef("invalid --at %q: %v", s, err)
	case !t.After(now):
		return time.Time{}, exit.Usagef("--at %q is in the past: for the current result, omit --at", s)
	}
	return t, nil
}
