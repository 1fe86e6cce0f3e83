package cli

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/promote"
)

func promoteCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "promote",
		Usage:     "check an image and, on a pass, sign, attest and copy it",
		ArgsUsage: "STAGING APPROVED [APPROVED...]",
		Description: "STAGING is a reference in the staging registry, or oci:, oci-archive:, docker-archive: or\n" +
			"docker-daemon: with a path or reference. APPROVED is registry/repository:tag. With several\n" +
			"APPROVED, imagegate completes the copies in all of them before it writes a tag.\n\n" +
			"The password of an encrypted key comes from COSIGN_PASSWORD. You can safely run the command\n" +
			"again: it verifies what was already written and adds what is missing.\n\n" +
			"--override promotes a denied image if every policy allows the override. The exit code is then\n" +
			"0. The report and standard error name the override. The signed decision still says that the\n" +
			"image was denied, and a second signed statement describes the override.",
		Flags: []cli.Flag{policyFlag, keyFlag("sign with `KEY`: a file in cosign's format or plain PEM, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.StringFlag{Name: "signature-format", EnvVars: []string{"IMAGEGATE_SIGNATURE_FORMAT"},
				Usage: "store signatures in the format `FORM`: legacy (.sig and .att tags), bundle (OCI 1.1 referrers) or both (default: legacy, or bundle with --keyless)"},
			&cli.BoolFlag{Name: "move-tag", EnvVars: []string{"IMAGEGATE_MOVE_TAG"}, Usage: "allow moving an existing approved tag to another digest"},
			newOverrideFlag(), ignoreReferrersFlag,
			keylessFlag, identityTokenFlag, signingConfigFlag, trustedRootFlag, tufMirrorFlag, tufRootFlag,
			insecureFlag, vexFlag, platformFlag, evidenceFlag, outputFlag, auditFlag, metricsFlag, detailsFlag, cacheFlag, cacheMaxFlag, tempFlag, sharedFlag, offlineFlag, logFlag, progressFlag, colorFlag, quietFlag},
		Action: func(c *cli.Context) error { return runPromote(c, s) },
	}
}

func runPromote(c *cli.Context, s Streams) (err error) {
	args, err := arguments(c, 2, -1, "STAGING and at least one APPROVED")
	if err != nil {
		return err
	}
	src, err := reference.Source(args[0])
	if err != nil {
		return exit.Usage(err)
	}
	tags, err := reference.Destinations(src, args[1:])
	if err != nil {
		return exit.Usage(err)
	}
	override, err := askedOverride(c)
	if err != nil {
		return err
	}
	out, err := newOutput(c, s, "promote", src)
	if err != nil {
		return err
	}
	defer out.Finish(c.Context, &err)
	if err := checkPlatform(c); err != nil {
		return err
	}
	job, done, err := newPromote(c, s, out, override)
	if err != nil {
		return err
	}
	defer func() { err = done(err) }()
	promoted, err := job.Run(c.Context, src, tags, &out.Report)
	if err == nil && !promoted {
		return exit.ErrDenied
	}
	return err
}

// newPromote builds the promotion job from the flags. The caller must pass the result of the job to
// done, which returns the error of the command.
func newPromote(c *cli.Context, s Streams, out *output.Writer, override *policy.Override) (_ *run.Promote, done func(error) error, err error) {
	job := &run.Promote{Override: override, Tool: tool(), Changed: out.Tell, Cataloged: out.Cataloged}
	var inputs exit.Inputs
	job.Evidence, err = newEvidence(c, out)
	inputs.Add(err)
	if inputs.Add(checkSigner(c)); len(inputs) > 0 {
		return nil, nil, withDatabase(c, inputs)
	}
	opts, err := promoteOptions(c, out)
	if err != nil {
		return nil, nil, err
	}
	signer, err := startSigner(c, s)
	if err != nil {
		return nil, nil, err
	}
	db, err := openDatabase(c)
	if err != nil {
		return nil, nil, signer.ending(err)
	}
	done = func(err error) error { return signer.ending(run.JoinCleanup(err, db.Close())) }
	job.Database = db.Info().Digest
	if job.Gate, err = newGate(c, job.Policies, db, out.Progress, time.Now, time.Time{}); err != nil {
		return nil, nil, done(err)
	}
	if job.Approved, err = promote.NewVerifier(opts.VerifierOptions); err != nil {
		return nil, nil, done(err)
	}
	job.Promoter = func(context.Context) (*promote.Promoter, error) {
		var err error
		if opts.Signer, err = signer.wait(); err != nil {
			return nil, err
		}
		return promote.New(opts)
	}
	job.Repeated = func(ctx context.Context, to *promote.Promoter, records []*promote.Record) error {
		return writePromoted(ctx, c, to, records)
	}
	return job, done, nil
}

// promoteOptions returns the options for the promoter, except the signer.
func promoteOptions(c *cli.Context, out *output.Writer) (promote.Options, error) {
	format, err := signatureFormat(c)
	if err != nil {
		return promote.Options{}, err
	}
	only := c.Bool(ignoreReferrersFlag.Name)
	if only && format != trust.Legacy {
		return promote.Options{}, exit.Usagef("--%s cannot be used with bundles, which are stored as referrers: use --signature-format legacy", ignoreReferrersFlag.Name)
	}
	reading, err := verifierOptions(c)
	if err != nil {
		return promote.Options{}, err
	}
	kept, err := openCache(c)
	if err != nil {
		return promote.Options{}, err
	}
	opts := promote.Options{VerifierOptions: reading, Memory: kept}
	opts.Format, opts.OnlyFormat, opts.MoveTag, opts.Progress = format, only, c.Bool("move-tag"), out.Progress
	opts.BeforeTag = func(ctx context.Context, to *promote.Promoter, records []*promote.Record) error {
		if err := writePromoted(ctx, c, to, records); err != nil {
			return err
		}
		return out.BeforeTag(ctx)
	}
	return opts, nil
}

// writePromoted writes the signed statements of the first destination to the folder of
// --evidence-dir, if that flag is given. Statements for other destinations differ only in the
// repository.
func writePromoted(ctx context.Context, c *cli.Context, to *promote.Promoter, records []*promote.Record) error {
	dir := c.String("evidence-dir")
	if dir == "" || len(records) == 0 {
		return nil
	}
	documents, err := to.Evidence(ctx, records[0])
	if err != nil {
		return err
	}
	return writeEvidence(c, dir, records[0], documents)
}
