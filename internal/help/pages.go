package help

import "slices"

// ExitCodes is the table of exit codes.
const ExitCodes = `Exit codes:
    0  passed, and promoted; or denied, and promoted by an override
    1  no decision; or promoted, but a report could not be written
    2  denied by the policy
    3  usage error, or invalid policy or configuration
    4  a registry failed or refused
    5  the vulnerability database is missing, corrupt or too old, or its update
       failed
    6  signing, attesting or verifying failed
  130  interrupted

The last line of an error is "retryable: yes" if the same command may succeed
later without a change.`

// exitCodesLine stands for the table in the help of each command.
const exitCodesLine = "0 is success, 2 is a denial, every other code is an error: imagegate help exit-codes"

// Titles of groups that the code refers to.
const (
	requiredTitle = "Required"
	otherTitle    = "Other"
)

// commandGroups are the commands of the program, in the order of its help. A command without a
// group is in the last one.
var commandGroups = []struct {
	title string
	names []string
}{
	{"Images", []string{"promote", "check", "verify"}},
	{"Reports", []string{"explain", "report"}},
	{"Setup", []string{"doctor", "policy", "db", "key", "cache"}},
	{otherTitle, []string{"completion", "man", "help", "version"}},
}

// flagTitles are the groups of flags, in the order of the help. Each flag is in one group, whatever
// its command. A flag of a page's required list is shown as required instead.
var flagTitles = []struct {
	title string
	names []string
}{
	{"Image and destination", []string{"--platform", "--move-tag", "--repository", "--any-tag", "--baseline", "--image"}},
	{"Policy and evidence", []string{"--policy", "--policy-name", "--vex", "--at", "--max-age", "--override", "--allow-override",
		"--require-predicate", "--profile", "--report"}},
	{"Output", []string{"--output", "--details", "--evidence-dir", "--junit", "--audit-log", "--metrics-file", "--explain", "--to", "--json", "--dir", "--color", "--progress", "--quiet", "--log-format"}},
	{"Signing and trust", []string{"--key", "--keyless", "--signature-format", "--signature-only", "--identity-token", "--signing-config",
		"--certificate-identity", "--certificate-identity-regexp", "--certificate-oidc-issuer", "--certificate-oidc-issuer-regexp",
		"--allow-unlogged", "--trusted-root", "--tuf-mirror", "--tuf-root", "--insecure-ignore-referrers"}},
	{"Cache and network", []string{"--cache-dir", "--cache-max", "--temp-dir", "--insecure-shared-parents", "--insecure-registry", "--offline",
		"--url", "--checksum", "--allow-older", "--insecure-plain-http"}},
}

// titles returns all titles of flags in order.
func titles() []string {
	out := []string{requiredTitle}
	for _, g := range flagTitles {
		out = append(out, g.title)
	}
	return append(out, otherTitle)
}

func titleOf(f Flag) string {
	for _, g := range flagTitles {
		if slices.ContainsFunc(f.Names, func(n string) bool { return slices.Contains(g.names, n) }) {
			return g.title
		}
	}
	return otherTitle
}

// page is what the command tree does not say about a command.
type page struct {
	// required are the flags that must be given: one of each list.
	required [][]string
	// brief replaces the first paragraph of the description in the short help.
	brief    string
	examples []Example
}

func example(comment string, lines ...string) Example { return Example{comment, lines} }

// pages are by the full name of the command.
var pages = map[string]page{
	"imagegate": {examples: []Example{
		example("make a policy and a key, and get the database", "imagegate policy init", "imagegate key generate", "imagegate db update"),
		example("check an image", "imagegate check staging.example/shop:1.4 --policy policy.yaml"),
		example("promote it if it passes", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "--policy policy.yaml --key cosign.key"),
	}},
	"imagegate promote": {
		required: [][]string{{"--policy"}, {"--key", "--keyless"}},
		brief: "Scans STAGING, evaluates the policy and, only on a pass, signs the image, attests\nthe evidence and copies it to each APPROVED, the tag last. On any other outcome\n" +
			"the approved registry is unchanged and the exit code is not 0.",
		examples: []Example{
			example("sign with a key", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --key cosign.key"),
			example("sign with the identity of the CI job, and keep a report", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --keyless -o text -o json=report.json"),
			example("promote a denied image for a day, if the policy allows it", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`,
				`-p policy.yaml --key cosign.key \`, "--override 'reason=outage,approver=oncall@example.com,expires=24h'"),
		}},
	"imagegate check": {
		required: [][]string{{"--policy"}},
		brief:    "Scans IMAGE, evaluates the policy and reports the decision. It writes to no\nregistry.",
		examples: []Example{
			example("an image in a registry", "imagegate check staging.example/shop:1.4 -p policy.yaml"),
			example("the output of docker save, with a report in a file", "imagegate check docker-archive:shop.tar -p policy.yaml \\", "-o text -o json=report.json"),
			example("what will block in 30 days", "imagegate check staging.example/shop:1.4 -p policy.yaml --at 30d"),
		}},
	"imagegate verify": {
		required: [][]string{{"--key", "--certificate-identity"}},
		brief:    "Proves that an image in the approved registry passed: it is signed, every\nstatement belongs to it, and the decision is a pass. It reads only the approved\nregistry.",
		examples: []Example{
			example("by a key", "imagegate verify approved.example/shop:1.4 --key cosign.pub"),
			example("by the identity of a workflow, with exactly this policy", `imagegate verify approved.example/shop:1.4 -p policy.yaml \`,
				`--certificate-identity https://ci.example/shop \`, "--certificate-oidc-issuer https://issuer.example"),
			example("a copy in a mirror", `imagegate verify mirror.example/shop:1.4 --key cosign.pub \`, "--repository approved.example/shop"),
		}},
	"imagegate explain": {
		required: [][]string{{"--report"}},
		examples: []Example{
			example("why a vulnerability blocks, and what would let the image pass", "imagegate explain CVE-2021-3918 --report report.json"),
			example("everything that a rule decided", "imagegate explain 'no critical' --report report.json"),
			example("a built-in rule, as JSON", "imagegate explain distribution.notCovered --report report.json -o json"),
		}},
	"imagegate report diff": {examples: []Example{
		example("what changed since the last run", "imagegate report diff before.json after.json"),
		example("for a program", "imagegate report diff before.json after.json -o json"),
	}},
	"imagegate report convert": {examples: []Example{
		example("for code scanning and for the tests of a CI", "imagegate report convert report.json -o sarif=report.sarif \\", "-o junit=report.xml"),
		example("as text", "imagegate report convert report.json"),
	}},
	"imagegate report schema": {examples: []Example{
		example("for a program that reads reports", "imagegate report schema >report.schema.json"),
	}},
	"imagegate policy init": {examples: []Example{
		example("policy.yaml, which denies critical findings", "imagegate policy init"),
		example("a policy that only warns", "imagegate policy init --profile audit audit.yaml"),
		example("show a profile", "imagegate policy init --profile strict -"),
	}},
	"imagegate policy lint": {examples: []Example{
		example("one policy", "imagegate policy lint policy.yaml"),
		example("several", "imagegate policy lint company.yaml team.yaml"),
	}},
	"imagegate policy test": {examples: []Example{
		example("the cases in a file", "imagegate policy test policy-test.yaml"),
		example("with a report for CI", "imagegate policy test policy-test.yaml --junit results.xml"),
	}},
	"imagegate policy print": {
		required: [][]string{{"--policy"}},
		examples: []Example{
			example("the policy with its exceptions and defaults", "imagegate policy print -p policy.yaml"),
			example("as it applies to one image", "imagegate policy print -p policy.yaml --image staging.example/shop"),
		}},
	"imagegate policy schema": {examples: []Example{
		example("for an editor", "imagegate policy schema >policy.schema.json"),
	}},
	"imagegate doctor": {examples: []Example{
		example("this machine", "imagegate doctor"),
		example("everything that promote needs", `imagegate doctor staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --key cosign.key"),
		example("for a program", "imagegate doctor --output json"),
	}},
	"imagegate db update": {examples: []Example{
		example("from grype's public distribution", "imagegate db update"),
		example("from a mirror", "imagegate db update --url https://mirror.example/grype"),
		example("exactly one database", "imagegate db update --checksum \\", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
	}},
	"imagegate db status": {examples: []Example{
		example("the current database and its age", "imagegate db status"),
		example("in another folder", "imagegate db status --cache-dir /var/cache/imagegate"),
	}},
	"imagegate db import": {examples: []Example{
		example("an archive", "imagegate db import database.tar.zst"),
		example("the newest archive of a mirror", "imagegate db import mirror"),
	}},
	"imagegate db build": {
		required: [][]string{{"--to"}},
		examples: []Example{
			example("one archive", "imagegate db build records --to database.tar.zst"),
			example("a mirror, to serve over HTTP", "imagegate db build records --to mirror"),
		}},
	"imagegate cache status": {examples: []Example{example("number and size of the SBOMs", "imagegate cache status")}},
	"imagegate cache prune": {examples: []Example{
		example("to the default size", "imagegate cache prune"),
		example("remove everything", "imagegate cache prune --cache-max 0"),
	}},
	"imagegate key generate": {examples: []Example{
		example("cosign.key and cosign.pub, with a password from a prompt", "imagegate key generate"),
		example("release.key and release.pub", "imagegate key generate release"),
	}},
	"imagegate key public": {examples: []Example{
		example("of a file", "imagegate key public cosign.key"),
		example("of a key management service", "imagegate key public awskms:///alias/imagegate >cosign.pub"),
	}},
	"imagegate completion": {examples: []Example{
		example("bash, for this session", "source <(imagegate completion bash)"),
		example("zsh, in a folder of $fpath", `imagegate completion zsh >"${fpath[1]}/_imagegate"`),
		example("fish", "imagegate completion fish >~/.config/fish/completions/imagegate.fish"),
		example("PowerShell, in $PROFILE", "imagegate completion powershell | Out-String | Invoke-Expression"),
	}},
	"imagegate man": {examples: []Example{
		example("read one page", "imagegate man check | man -l -"),
		example("install all pages", "imagegate man --dir /usr/local/share/man/man1"),
	}},
	"imagegate help": {examples: []Example{
		example("everything about a command", "imagegate help promote"),
		example("the exit codes", "imagegate help exit-codes"),
		example("the environment variables", "imagegate help environment"),
	}},
	"imagegate version": {examples: []Example{
		example("for a person", "imagegate version"),
		example("for a program", "imagegate version --json"),
	}},
}
