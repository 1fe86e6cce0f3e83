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
		Description: "The signature must be for this digest and this repository. With --allow-override, the decision\n" +
			"may be a denial with a signed override that has not expired.\n\n" +
			"--signature-only accepts an image that only \"cosign sign\" signed, in the legacy format or as a\n" +
			"bundle. For an index, only the index needs a signature. A bundle is also accepted if it does not name the repository.\n\n" +
			"In a mirror or pull-through cache, the image has another repository name. Pass the original\n" +
			"name with --repository. The image and all statements are then read from APPROVED, and must be\n" +
			"signed for NAME.",
		Flags: append([]cli.Flag{keyFlag("verify signatures with `KEY`: public keys in a PEM file, or awskms://, gcpkms://, azurekms://, hashivault://"),
			&cli.GenericFlag{Name: "max-age", Value: &flags.Duration{}, EnvVars: []string{"IMAGEGATE_MAX_AGE"}, Usage: "refuse a decision older than `DURATION`, such as 7d (default: decision.maxAge of the policy that made the decision)"},
			&cli.StringSliceFlag{Name: "policy", Aliases: []string{"p"}, EnvVars: []string{"IMAGEGATE_POLICY"}, Usage: "require that the image passed exactly the policy in `FILE`. Repeatable: the policies in the order of promote"},
			&cli.StringFlag{Name: "policy-name", EnvVars: []string{"IMAGEGATE_POLICY_NAME"}, Usage: "require that the image passed the policy named `NAME`, in any version. Join the names of several policies with \" + \""},
			&cli.BoolFlag{Name: "any-tag", Usage: "accept an image that was promoted only under another tag"},
			&cli.StringFlag{Name: "repository", EnvVars: []string{"IMAGEGATE_REPOSITORY"}, Usage: "require that the image was signed for the repository `NAME`. For mirrors (default: the repository of APPROVED)"},
			ignoreReferrersFlag,
			// The next two flags deliberately have no environment variable: it could stay set for
			// later runs and weaken their checks.
			&cli.BoolFlag{Name: "allow-override", Usage: "accept a denied image if a signed override is still valid"},
			&cli.BoolFlag{Name: "signature-only", Usage: "verify only that the digest is signed, not that the image passed"},
			&cli.BoolFlag{Name: "explain", Usage: "list every signature and statement with type, signer, time, and the reason why it counts or does not count"},
			requireFlag, insecureFlag, offlineFlag, evidenceFlag, outputFlag, auditFlag, metricsFlag, detailsFlag, colorFlag, cacheFlag, sharedFlag}, identityFlags...),
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
	defer out.Finish(c.Context, &err)
	var inputs exit.Inputs
	if len(c.StringSlice("policy")) > 0 {
		policies, err := loadPolicies(c)
		if inputs.Add(err); err == nil {
			want.Policy, want.PolicyFile = policies.Digest(), run.Policy(policies).File
			out.Policies(policies)
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
	return job.Run(c.Context, ref, &out.Report)
}

// ignoreReferrersFlag weakens the verification: a newer decision may be among the referrers that it
// ignores.
var ignoreReferrersFlag = &cli.BoolFlag{Name: "insecure-ignore-referrers", EnvVars: []string{"IMAGEGATE_INSECURE_IGNORE_REFERRERS"},
	Usage: "read statements only from tags. For a registry that stores no bundles and refuses to list referrers"}

// requirements returns what the flags require of the image, except the policy and the trusted
// signers.
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
