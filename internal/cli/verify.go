package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/flags"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/promote"
)

func verifyCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that an image in an approved registry passed",
		ArgsUsage: "APPROVED",
		Description: "Reads only the approved registry. The key must have signed this digest for this repository.\n" +
			"Every statement must be there and belong to the image, and the decision must be a pass.\n" +
			"With --allow-override it may be a denial with a signed override that is still valid.\n\n" +
			"--signature-only requires no decision: it accepts an image that cosign signed, in either form\n" +
			"of storage. Only the given digest needs a signature, and a bundle need not name the repository.\n\n" +
			"A mirror or pull-through cache has the image under another name. Give the original name with\n" +
			"--repository. The image and all statements are read from APPROVED, and must be signed for NAME.",
		Flags: append([]cli.Flag{keyFlag("verify with `KEY`: public keys in a PEM file, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.GenericFlag{Name: "max-age", Value: &flags.Duration{}, EnvVars: []string{"IMAGEGATE_MAX_AGE"}, Usage: "refuse a decision older than `DURATION`, such as 7d (default: decision.maxAge of its policy)"},
			&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "require a pass of exactly the policy in `FILE`, or of these policies in this order"},
			&cli.StringFlag{Name: "policy-name", EnvVars: []string{"IMAGEGATE_POLICY_NAME"}, Usage: "require a pass of the policy `NAME`, in any version. Join several names with \" + \""},
			&cli.BoolFlag{Name: "any-tag", Usage: "accept an image that was promoted under another tag"},
			&cli.StringFlag{Name: "repository", EnvVars: []string{"IMAGEGATE_REPOSITORY"}, Usage: "require a signature for the repository `NAME`, if APPROVED is in a mirror (default: the repository of APPROVED)"},
			ignoreReferrersFlag,
			// The next two flags have no environment variable on purpose: a variable could stay set
			// for other runs and weaken their checks.
			&cli.BoolFlag{Name: "allow-override", Usage: "accept a denied image with a valid override"},
			&cli.BoolFlag{Name: "signature-only", Usage: "verify only that the digest is signed, not that it passed"},
			&cli.BoolFlag{Name: "explain", Usage: "list every signature and statement: type, signer, time, and why it counts or does not"},
			requireFlag, insecureFlag, offlineFlag, evidenceFlag, outputFlag, detailsFlag, colorFlag, cacheFlag, sharedFlag}, identityFlags...),
		Action: func(c *cli.Context) error { return runVerify(c, s) },
	}
}

func runVerify(c *cli.Context, s Streams) (err error) {
	args, err := arguments(c, 1, 1, "one APPROVED")
	if err != nil {
		return err
	}
	ref, err := reference.Approved(args[0])
	if err != nil {
		return exit.Usage(fmt.Errorf("approved reference %w", err))
	}
	want, err := requirements(c)
	if err != nil {
		return err
	}
	out, err := newOutput(c, s, "verify", ref)
	if err != nil {
		return err
	}
	defer out.finish(c.Context, &err)
	var inputs exit.Inputs
	if len(c.StringSlice("policy")) > 0 {
		policies, err := loadPolicies(c)
		if inputs.Add(err); err == nil {
			want.Policy, want.PolicyFile = policies.Digest(), run.Policy(policies).File
			out.policies(policies)
		}
	}
	want.Trust, err = trusted(c)
	if inputs.Add(err); len(inputs) > 0 {
		return inputs
	}
	opts, err := verifierOptions(c)
	if err != nil {
		return err
	}
	opts.OnlyFormat = c.Bool(ignoreReferrersFlag.Name)
	job := run.Verify{Trust: want, SignatureOnly: c.Bool("signature-only"), Explain: c.Bool("explain")}
	if job.Verifier, err = promote.NewVerifier(opts); err != nil {
		return err
	}
	if dir := c.String("evidence-dir"); dir != "" {
		job.Documents = func(record *promote.Record, documents []promote.Document) error {
			return writeEvidence(c, dir, record, documents)
		}
	}
	return job.Run(c.Context, ref, &out.report)
}

// ignoreReferrersFlag weakens a check, because a newer decision may be among the ignored referrers.
var ignoreReferrersFlag = &cli.BoolFlag{Name: "insecure-ignore-referrers", EnvVars: []string{"IMAGEGATE_INSECURE_IGNORE_REFERRERS"},
	Usage: "read statements from tags only, if the registry refuses its list of referrers"}

// requirements returns the requirements for the image from the flags, except the policy and the
// trusted signers.
func requirements(c *cli.Context) (promote.Trust, error) {
	want := promote.Trust{MaxAge: c.Generic("max-age").(*flags.Duration).Get(), AllowOverride: c.Bool("allow-override"), PolicyName: c.String("policy-name"), AnyTag: c.Bool("any-tag")}
	if s := c.String("repository"); s != "" {
		repo, err := reference.Repository(s)
		if err != nil {
			return want, exit.Usage(fmt.Errorf("--repository %w", err))
		}
		want.Repository = repo
	}
	if c.Bool("signature-only") {
		for _, flag := range []string{"policy", "policy-name", "any-tag", "max-age", "allow-override", "evidence-dir"} {
			if c.IsSet(flag) {
				return want, exit.Usagef("--signature-only cannot be used with --%s: a decision is not read", flag)
			}
		}
	}
	if c.Bool("offline") && trust.IsKMS(c.String("key")) {
		return want, exit.Usagef("--offline: reading the public key of %q needs the network: save it to a file first with \"imagegate key public\"", c.String("key"))
	}
	var err error
	want.Predicates, err = requiredPredicates(c)
	return want, err
}
