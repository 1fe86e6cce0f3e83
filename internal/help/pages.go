package help

import "slices"

// ExitCodes is the table of exit codes in the help.
const ExitCodes = `Exit codes:
    0  the image passed, or an override let it through
    1  there is no decision; or the image was promoted, but a report could not
       be written
    2  denied by the policy
    3  usage error, or invalid policy or configuration
    4  a registry failed or refused the request
    5  the vulnerability database is missing, corrupt or too old, or its update
       failed
    6  signing, attesting or verifying failed, or a replay came out differently
  130  interrupted

The last line of every error is "retryable: yes" or "retryable: no". With yes,
the same command may succeed later without a change.`

// exitCodesLine replaces the table of exit codes in the help of each command.
const exitCodesLine = "0 is success, 2 is a denial, every other code is an error: imagegate help exit-codes"

// These are the titles of the groups that the code refers to.
const (
	requiredTitle = "Required"
	otherTitle    = "Other"
)

// commandGroups lists the commands of the program by group, in the order of the help. A command
// that is not listed is in the last group.
var commandGroups = []struct {
	title string
	names []string
}{
	{"Images", []string{"promote", "check", "verify"}},
	{"Reports", []string{"explain", "report", "replay"}},
	{"Setup", []string{"doctor", "policy", "db", "key", "cache"}},
	{otherTitle, []string{"completion", "man", "help", "version", "verify-release"}},
}

// flagTitles lists the flags of each group, in the order of the help. A flag is in the same group
// in every command. But the required flags of a command are in the group "Required".
var flagTitles = []struct {
	title string
	names []string
}{
	{"Release", []string{"--tag", "--source"}},
	{"Image and destination", []string{"--platform", "--move-tag", "--repository", "--any-tag", "--baseline", "--image"}},
	{"Policy and evidence", []string{"--policy", "--policy-name", "--vex", "--at", "--max-age", "--override", "--allow-override",
		"--require-predicate", "--profile", "--report", "--id", "--rescan"}},
	{"Output", []string{"--output", "--details", "--evidence-dir", "--junit", "--audit-log", "--metrics-file", "--explain", "--to", "--json", "--dir", "--color", "--progress", "--quiet", "--log-format", "--code", "--command", "--file", "--log"}},
	{"Signing and trust", []string{"--key", "--keyless", "--signature-format", "--signature-only", "--identity-token", "--signing-config",
		"--certificate-identity", "--certificate-identity-regexp", "--certificate-oidc-issuer", "--certificate-oidc-issuer-regexp",
		"--allow-unlogged", "--trusted-root", "--tuf-mirror", "--tuf-root", "--insecure-ignore-referrers"}},
	{"Cache and network", []string{"--cache-dir", "--cache-max", "--temp-dir", "--insecure-shared-parents", "--insecure-registry", "--offline",
		"--url", "--checksum", "--archive-dir", "--allow-older", "--insecure-plain-http"}},
	{"Configuration file", []string{"--config", "--no-config"}},
}

// titles returns the titles of all flag groups, in order.
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

// page has the parts of a command's help that the command tree does not contain.
type page struct {
	// required lists the required flags. One flag of each inner list must be given.
	required [][]string
	// brief replaces the first paragraph of the description in the short help.
	brief    string
	examples []Example
}

func example(comment string, lines ...string) Example { return Example{comment, lines} }

// pages has the page of each command, by the full name of the command.
var pages = map[string]page{
	"imagegate": {examples: []Example{
		example("make a policy and a key, and get the database", "imagegate policy init", "imagegate key generate", "imagegate db update"),
		example("check an image", "imagegate check staging.example/shop:1.4 --policy policy.yaml"),
		example("promote it if it passes", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "--policy policy.yaml --key cosign.key"),
	}},
	"imagegate promote": {
		required: [][]string{{"--policy"}, {"--key", "--keyless"}},
		brief: "Scans STAGING, evaluates the policy and, only on a pass, copies the image to each\nAPPROVED, signs it and attests the evidence. The tag is written last. On any\n" +
			"other outcome the approved registry is unchanged and the exit code is not 0.",
		examples: []Example{
			example("sign with a key", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --key cosign.key"),
			example("sign with the identity of the CI job, and write a JSON report", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --keyless -o text -o json=report.json"),
			example("promote a denied image for a day, if the policy allows it", `imagegate promote staging.example/shop:1.4 approved.example/shop:1.4 \`,
				`-p policy.yaml --key cosign.key \`, "--override 'reason=outage,approver=oncall@example.com,expires=24h'"),
		}},
	"imagegate check": {
		required: [][]string{{"--policy"}},
		brief:    "Scans IMAGE, evaluates the policy and reports the decision. Does not write to a\nregistry.",
		examples: []Example{
			example("check an image in a registry", "imagegate check staging.example/shop:1.4 -p policy.yaml"),
			example("check the output of docker save, and write a report to a file", "imagegate check docker-archive:shop.tar -p policy.yaml \\", "-o text -o json=report.json"),
			example("show what will block in 30 days", "imagegate check staging.example/shop:1.4 -p policy.yaml --at 30d"),
		}},
	"imagegate verify": {
		required: [][]string{{"--key", "--certificate-identity"}},
		brief:    "Proves that an image in the approved registry passed: the image is signed, the\ndecision about the image is a pass, and all statements that the decision lists\nare present. Reads only the approved registry.",
		examples: []Example{
			example("verify with a public key", "imagegate verify approved.example/shop:1.4 --key cosign.pub"),
			example("verify with the identity of a workflow, and require exactly this policy", `imagegate verify approved.example/shop:1.4 -p policy.yaml \`,
				`--certificate-identity https://ci.example/shop \`, "--certificate-oidc-issuer https://issuer.example"),
			example("verify a copy in a mirror", `imagegate verify mirror.example/shop:1.4 --key cosign.pub \`, "--repository approved.example/shop"),
		}},
	"imagegate explain": {
		required: [][]string{{"--report"}},
		examples: []Example{
			example("explain why a vulnerability blocks, and what would let the image pass", "imagegate explain CVE-2021-3918 --report report.json"),
			example("list everything that a rule decided", "imagegate explain 'no critical' --report report.json"),
			example("explain a built-in rule, as JSON", "imagegate explain distribution.notCovered --report report.json -o json"),
		}},
	"imagegate replay": {
		examples: []Example{
			example("the run that wrote a report", "imagegate replay report.json"),
			example("the last run in an audit log, from its image", "imagegate replay /var/log/imagegate.jsonl --policy policy.yaml"),
			example("one record of the log, from the report of the same run", "imagegate replay /var/log/imagegate.jsonl --id ID --report report.json"),
		}},
	"imagegate report diff": {examples: []Example{
		example("show what changed since the last run", "imagegate report diff before.json after.json"),
		example("write the differences as JSON", "imagegate report diff before.json after.json -o json"),
	}},
	"imagegate report convert": {examples: []Example{
		example("write reports for code scanning and for the test results of a CI system", "imagegate report convert report.json -o sarif=report.sarif \\", "-o junit=report.xml"),
		example("print the report as text", "imagegate report convert report.json"),
	}},
	"imagegate report github": {required: [][]string{{"--code"}}, examples: []Example{
		example("end the step of a denied image", "imagegate report github report.json --code 2 --log stderr.txt \\", "--file report=report.json"),
	}},
	"imagegate report schema": {examples: []Example{
		example("write the schema to a file", "imagegate report schema >report.schema.json"),
	}},
	"imagegate policy init": {examples: []Example{
		example("write policy.yaml with the starter profile", "imagegate policy init"),
		example("write a policy that only warns", "imagegate policy init --profile audit audit.yaml"),
		example("print the strict profile", "imagegate policy init --profile strict -"),
	}},
	"imagegate policy lint": {examples: []Example{
		example("check one policy", "imagegate policy lint policy.yaml"),
		example("check several policies", "imagegate policy lint company.yaml team.yaml"),
	}},
	"imagegate policy test": {examples: []Example{
		example("run the cases in a file", "imagegate policy test policy-tests.yaml"),
		example("also write the results for a CI system", "imagegate policy test policy-tests.yaml --junit results.xml"),
	}},
	"imagegate policy print": {
		required: [][]string{{"--policy"}},
		examples: []Example{
			example("print a policy with the exceptions of its exception files", "imagegate policy print -p policy.yaml"),
			example("print the policy as it applies to one repository", "imagegate policy print -p policy.yaml --image staging.example/shop"),
		}},
	"imagegate policy schema": {examples: []Example{
		example("write the schema to a file for an editor", "imagegate policy schema >policy.schema.json"),
	}},
	"imagegate doctor": {examples: []Example{
		example("this machine", "imagegate doctor"),
		example("everything that promote needs", `imagegate doctor staging.example/shop:1.4 approved.example/shop:1.4 \`, "-p policy.yaml --key cosign.key"),
		example("for a program", "imagegate doctor --output json"),
	}},
	"imagegate db update": {examples: []Example{
		example("download from grype's public distribution", "imagegate db update"),
		example("download from a mirror", "imagegate db update --url https://mirror.example/grype"),
		example("accept only the database with this checksum", "imagegate db update --checksum \\", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
	}},
	"imagegate db status": {examples: []Example{
		example("show the current database and its age", "imagegate db status"),
		example("show the database in another cache folder", "imagegate db status --cache-dir /var/cache/imagegate"),
	}},
	"imagegate db import": {examples: []Example{
		example("import an archive", "imagegate db import database.tar.xz"),
		example("import the newest archive of a mirror", "imagegate db import mirror"),
	}},
	"imagegate db build": {
		required: [][]string{{"--to"}},
		examples: []Example{
			example("build an archive", "imagegate db build records --to database.tar.xz"),
			example("build a mirror, to serve over HTTP", "imagegate db build records --to mirror"),
		}},
	"imagegate cache status": {examples: []Example{example("show the number and the size of the SBOMs", "imagegate cache status")}},
	"imagegate cache prune": {examples: []Example{
		example("reduce the cache to the default size", "imagegate cache prune"),
		example("remove all SBOMs", "imagegate cache prune --cache-max 0"),
	}},
	"imagegate key generate": {examples: []Example{
		example("write cosign.key and cosign.pub, and prompt for a password", "imagegate key generate"),
		example("write release.key and release.pub", "imagegate key generate release"),
	}},
	"imagegate key public": {examples: []Example{
		example("print the public key of a file", "imagegate key public cosign.key"),
		example("write the public key of a key management service to a file", "imagegate key public awskms:///alias/imagegate >cosign.pub"),
	}},
	"imagegate completion": {examples: []Example{
		example("load the completion into this bash session", "source <(imagegate completion bash)"),
		example("install the completion for zsh, in a folder of $fpath", `imagegate completion zsh >"${fpath[1]}/_imagegate"`),
		example("install the completion for fish", "imagegate completion fish >~/.config/fish/completions/imagegate.fish"),
		example("load the completion in PowerShell; put this line into $PROFILE", "imagegate completion powershell | Out-String | Invoke-Expression"),
	}},
	"imagegate man": {examples: []Example{
		example("display one page", "imagegate man check | man -l -"),
		example("install all pages", "imagegate man --dir /usr/local/share/man/man1"),
	}},
	"imagegate help": {examples: []Example{
		example("print the complete help of a command", "imagegate help promote"),
		example("print the exit codes", "imagegate help exit-codes"),
		example("list the environment variables", "imagegate help environment"),
	}},
	"imagegate version": {examples: []Example{
		example("print the version", "imagegate version"),
		example("print the version as JSON", "imagegate version --json"),
	}},
	"imagegate verify-release": {
		required: [][]string{{"--tag"}},
		examples: []Example{
			example("verify a downloaded archive", "imagegate verify-release imagegate_1.2.3_linux_amd64.tar.xz --tag v1.2.3"),
			example("verify a release of a fork, without network", "imagegate verify-release imagegate_1.2.3_linux_amd64.deb --tag v1.2.3 \\",
				"--source github.com/team/imagegate --trusted-root trusted_root.json"),
		}},
}
