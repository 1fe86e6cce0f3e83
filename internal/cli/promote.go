package cli

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
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
			"docker-daemon: with a path or reference. APPROVED is registry/repository:tag. With several, no\n" +
			"tag is written before all are complete.\n\n" +
			"The password of an encrypted key comes from COSIGN_PASSWORD. You can safely run the command\n" +
			"again: it verifies what was already written and adds what is missing.\n\n" +
			"--override promotes a denied image if every policy allows it. The signed decision still says\n" +
			"that the image was denied, and carries the override. The exit code is 0, and the report and\n" +
			"standard error name the override.",
		Flags: []cli.Flag{policyFlag, keyFlag("sign with `KEY`: a file in cosign's format or plain PEM, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.StringFlag{Name: "signature-format", EnvVars: []string{"IMAGEGATE_SIGNATURE_FORMAT"},
				Usage: "store signatures as `FORM`: legacy (.sig and .att tags), bundle (OCI 1.1 referrers) or both (default: legacy, or bundle with --keyless)"},
			&cli.BoolFlag{Name: "move-tag", EnvVars: []string{"IMAGEGATE_MOVE_TAG"}, Usage: "allow an approved tag to move from another digest"},
			newOverrideFlag(), ignoreReferrersFlag,
			keylessFlag, identityTokenFlag, signingConfigFlag, trustedRootFlag, tufMirrorFlag, tufRootFlag,
			insecureFlag, vexFlag, platformFlag, evidenceFlag, outputFlag, cacheFlag, cacheMaxFlag, tempFlag, sharedFlag, offlineFlag, logFlag, quietFlag},
		Action: func(c *cli.Context) error { return runPromote(c, s) },
	}
}

func runPromote(c *cli.Context, s Streams) (err error) {
	args, err := arguments(c, 2, -1, "STAGING and at least one APPROVED")
	if err != nil {
		return err
	}
	src, err := gate.ParseSource(args[0])
	if err != nil {
		return usageError{err}
	}
	tags, err := approvedTags(args[1:])
	if err != nil {
		return err
	}
	override, err := askedOverride(c)
	if err != nil {
		return err
	}
	out, err := newOutput(c, s, "promote", src)
	if err != nil {
		return err
	}
	defer out.finish(c.Context, &err)
	if err := checkPlatform(c); err != nil {
		return err
	}
	policies, err := loadPolicies(c)
	if err != nil {
		return err
	}
	out.policies(policies)
	statements, err := loadVEX(c)
	if err != nil {
		return err
	}
	format, err := signatureFormat(c)
	if err != nil {
		return err
	}
	if c.Bool(ignoreReferrersFlag.Name) && format != trust.Legacy {
		return usagef("--%s: statements stored as bundles are referrers: use --signature-format legacy", ignoreReferrersFlag.Name)
	}
	signer, err := startSigner(c, s)
	if err != nil {
		return err
	}
	defer func() { err = signer.ending(err) }()
	db, err := openDatabase(c)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, db.Close()) }()
	g, err := newGate(c, policies, db, out.progress, time.Time{})
	if err != nil {
		return err
	}
	reach, err := registryAccess(c)
	if err != nil {
		return err
	}
	opts := promote.Options{Format: format, OnlyFormat: c.Bool(ignoreReferrersFlag.Name), Now: time.Now, MoveTag: c.Bool("move-tag"),
		Keychain: reach.keychain, Transport: reach.transport, UserAgent: userAgent(), Progress: out.progress}
	opts.BeforeTag = func(ctx context.Context, to *promote.Promoter, records []*promote.Record) error {
		if err := writePromoted(ctx, c, to, records); err != nil {
			return err
		}
		return out.rehearse()
	}
	approved, err := promote.NewVerifier(opts)
	if err != nil {
		return err
	}

	run := promotion{cli: c, gate: g, approved: approved, tags: tags, out: out, override: override,
		promoter: func() (*promote.Promoter, error) {
			var err error
			if opts.Signer, err = signer.wait(); err != nil {
				return nil, err
			}
			return promote.New(opts)
		},
		beside: gate.ExternalEvidence{VEX: statements},
		basis:  promote.Basis{Policy: policies.Digest(), PolicyName: policies.Title(), Database: db.Info().Digest, Tool: tool(), Override: override}}
	return run.promote(src, policies)
}

// promotion is one run of promote.
type promotion struct {
	cli      *cli.Context
	gate     *gate.Gate
	approved *promote.Verifier                 // finds an earlier promotion
	promoter func() (*promote.Promoter, error) // waits for the key
	tags     []name.Tag
	out      *output
	override *policy.Override // nil for none
	beside   gate.ExternalEvidence
	basis    promote.Basis
}

// promote returns early if an earlier run already promoted the image. Otherwise it checks the image
// and, if it passes, promotes it.
func (p *promotion) promote(src gate.Source, policies policy.Set) (err error) {
	ctx := p.cli.Context
	src, digest, err := p.gate.Pin(ctx, src)
	if err != nil {
		return err
	}
	if digest.Hex != "" {
		done, err := p.done(src, digest, policies)
		if err != nil || done {
			return err
		}
	}
	if policies.UsesBaseline(src.Repository()) {
		to, err := p.promoter()
		if err != nil {
			return err
		}
		baseline, missing, err := to.Baseline(ctx, policies.BaselineMaxAge(src.Repository()), p.tags...)
		if err != nil {
			return err
		}
		p.beside.Baseline = baseline
		p.out.inherits(baseline, missing)
	}
	result, err := p.gate.Check(ctx, src, p.beside)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, result.Close()) }()
	// Report a key that cannot be opened before a denial.
	to, err := p.promoter()
	if err != nil {
		return err
	}
	p.out.result(result)
	leave := approval(result, p.override, p.out)
	if leave == nil {
		return errDenied
	}
	if to, err = p.carry(to, src, policies, leave); err != nil {
		return err
	}
	records, err := to.Promote(ctx, leave, p.tags...)
	p.out.promoted(records) // on an error, the tags written before it
	return err
}

// writePromoted writes the statements of the first destination if --evidence-dir is given. The
// other destinations have the same statements for their own repositories.
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

// done reports whether an earlier run promoted the digest on the same basis.
func (p *promotion) done(src gate.Source, digest v1.Hash, policies policy.Set) (bool, error) {
	ctx := p.cli.Context
	there, err := p.approved.CheckTags(ctx, digest, p.tags...)
	if err != nil {
		return false, err
	}
	if err := addStaged(p.cli, src, policies, &p.beside); err != nil {
		return false, err
	}
	if p.basis.ExternalEvidence, err = promote.ExternalEvidenceDigest(p.beside); err != nil {
		return false, err
	}
	if !there {
		return false, nil
	}
	ahead := p.approved.Prefetch(ctx, digest, p.tags...) // while the key is opened
	to, err := p.promoter()
	if err != nil {
		return false, err
	}
	p.basis.Repository = src.Repository()
	records, done, err := to.Promoted(ctx, digest, p.basis, ahead, p.tags...)
	if err != nil || !done {
		return false, err
	}
	p.out.repeated(records)
	if p.out.report.Override == nil {
		p.out.unused(p.override)
	}
	if err := writePromoted(ctx, p.cli, to, records); err != nil {
		return true, &unwrittenError{promoted: true, err: err}
	}
	return true, nil
}
