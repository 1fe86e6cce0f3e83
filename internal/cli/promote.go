package cli

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/promote"
)

func promoteCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "promote",
		Usage:     "check an image and, on a pass, sign, attest and copy it; the main job",
		ArgsUsage: "STAGING APPROVED [APPROVED...]",
		Description: "STAGING is a reference in the staging registry, or oci:, oci-archive:, docker-archive: or\n" +
			"docker-daemon: with a path or reference. APPROVED is registry/repository:tag; with several, no\n" +
			"tag is written before all are complete.\n\n" +
			"The password of an encrypted key is read from COSIGN_PASSWORD. Doing it again is safe: what is\n" +
			"there is verified, what is missing is completed.",
		Flags: []cli.Flag{policyFlag, keyFlag("sign with `KEY`: a file in cosign's format or plain PEM, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.StringFlag{Name: "signature-format", EnvVars: []string{"IMAGEGATE_SIGNATURE_FORMAT"}, Value: trust.Legacy.String(),
				Usage: "store signatures and statements as `FORM`: legacy (cosign's .sig and .att tags), bundle (sigstore bundles as OCI 1.1 referrers) or both"},
			&cli.BoolFlag{Name: "move-tag", EnvVars: []string{"IMAGEGATE_MOVE_TAG"}, Usage: "move an approved tag that names another digest"},
			vexFlag, trustedRootFlag, platformFlag, outputFlag, cacheFlag, cacheMaxFlag, tempFlag, offlineFlag, logFlag, quietFlag},
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
	out, err := newOutput(c, s, "promote", src)
	if err != nil {
		return err
	}
	defer func() { err = out.finish(c.Context, err) }()
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
	format, err := trust.ParseFormat(c.String("signature-format"))
	if err != nil {
		return usageError{err}
	}
	signer, err := loadSigner(c, s)
	if err != nil {
		return err
	}
	db, err := openDatabase(c)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, db.Close()) }()
	g, err := newGate(c, policies, db, out.progress, time.Time{})
	if err != nil {
		return err
	}
	to, err := promote.New(promote.Options{Signer: signer, Format: format, Now: time.Now, MoveTag: c.Bool("move-tag"),
		Keychain: keychain(), Transport: registryTransport(stall), UserAgent: userAgent(), Progress: out.progress})
	if err != nil {
		return err
	}

	beside := gate.Beside{VEX: statements}
	src, digest, err := g.Pin(c.Context, src)
	if err != nil {
		return err
	}
	if digest.Hex != "" {
		if err := to.CheckTags(c.Context, digest, tags...); err != nil {
			return err
		}
		if err := addStaged(c, src, policies, &beside); err != nil {
			return err
		}
		digestBeside, err := promote.BesideDigest(beside)
		if err != nil {
			return err
		}
		basis := promote.Basis{Beside: digestBeside, Repository: src.Repository(), Policy: policies.Digest(), Database: db.Info().Digest, Tool: tool()}
		records, done, err := to.Promoted(c.Context, digest, basis, tags...)
		if err != nil {
			return err
		}
		if done {
			out.repeated(records)
			return nil
		}
	}
	if policies.UsesBaseline(src.Repository()) {
		baseline, missing, err := to.Baseline(c.Context, tags...)
		if err != nil {
			return err
		}
		beside.Baseline = baseline
		out.inherits(baseline, missing)
	}
	result, err := g.Check(c.Context, src, beside)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, result.Close()) }()
	out.result(result)
	if result.Approval == nil {
		return errDenied
	}
	records, err := to.Promote(c.Context, result.Approval, tags...)
	out.promoted(records) // of several, some may have been before one failed
	return err
}
