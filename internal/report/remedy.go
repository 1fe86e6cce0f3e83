package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Remedy says what to do about a group of violations.
type Remedy struct {
	// Violations are indexes into the decision's list of violations.
	Violations []int `json:"violations"`
	// Do is a command or a line for a file, or a sentence if there is neither.
	Do string `json:"do"`
	// Exceptions are items for the policy's list of exceptions, one line of YAML each. They let the
	// violations pass once reason and owner are filled in. The list is empty if exceptions cannot
	// cover the violations.
	Exceptions []string `json:"exceptions,omitempty"`
}

// Remedies returns what to do about each violation of r, causes first. Do and Exceptions may quote
// text from the image: sanitize them before printing.
func Remedies(r Report) []Remedy {
	if r.Decision == nil {
		return nil
	}
	m := newRemedier(r)
	var out []Remedy
	known := map[string]int{}
	for _, i := range byRank(r.Decision.Violations) {
		v := &r.Decision.Violations[i]
		do := m.do(v).text
		at, ok := known[do]
		if !ok {
			at = len(out)
			known[do] = at
			out = append(out, Remedy{Do: do})
		}
		out[at].Violations = append(out[at].Violations, i)
		if item := m.exception(v); item != "" && !slices.Contains(out[at].Exceptions, item) {
			out[at].Exceptions = append(out[at].Exceptions, item)
		}
	}
	return out
}

// byRank returns the indexes of the violations, causes before the violations that may follow from
// them.
func byRank(violations []policy.Violation) []int {
	indexes := make([]int, len(violations))
	for i := range indexes {
		indexes[i] = i
	}
	slices.SortStableFunc(indexes, func(a, b int) int {
		return cmp.Compare(kindRank(violations[a].Kind), kindRank(violations[b].Kind))
	})
	return indexes
}

// instruction is what to do. A line to paste must not be wrapped.
type instruction struct {
	text  string
	paste bool
}

func paste(format string, args ...any) instruction {
	return instruction{fmt.Sprintf(format, args...), true}
}
func say(format string, args ...any) instruction {
	return instruction{text: fmt.Sprintf(format, args...)}
}

// remedier finds the remedies for the violations of one report.
type remedier struct {
	report  Report
	expires string                 // for new exceptions; empty if the report has no time
	upgrade map[string]instruction // by packageKey
}

func newRemedier(r Report) *remedier {
	m := &remedier{report: r, upgrade: map[string]instruction{}}
	if at := cmp.Or(r.EvaluatedAt, r.referenceTime()); !at.IsZero() {
		m.expires = expiry(at, r.Policy.ExceptionsMaxLifetime)
	}
	if r.Decision != nil {
		fixable, _, _ := splitByFix(merge(r.Decision.Violations))
		for _, g := range byPackage(fixable) {
			m.upgrade[packageKey(g.pkg)] = upgrade(g.pkg, g.target)
		}
	}
	return m
}

// newExceptionsLast is the lifetime of the exceptions that the report suggests.
const newExceptionsLast = 30 * 24 * time.Hour

// expiry returns the end of an exception that is added now, in the form for a policy: after
// newExceptionsLast, or after most if that is shorter. A most of zero means no limit.
func expiry(now time.Time, most time.Duration) string {
	last := newExceptionsLast
	if most > 0 {
		last = min(last, most)
	}
	until := now.Add(last).UTC()
	if day := until.Truncate(24 * time.Hour); day.After(now) {
		return day.Format(time.DateOnly)
	}
	return until.Truncate(time.Second).Format(time.RFC3339)
}

// do returns how to fix a violation without an exception.
func (m *remedier) do(v *policy.Violation) instruction {
	if v.Unevaluated {
		return say("correct the rule %s: it could not be evaluated", ruleText(*v))
	}
	switch v.Kind {
	case policy.KindVulnerability:
		return m.vulnerability(v.Finding)
	case policy.KindDatabase:
		return databaseRemedy(v.Rule)
	case policy.KindDistribution:
		return distributionRemedy(v.Rule)
	case policy.KindCoverage:
		if v.Unmatched == nil {
			return say("%s", unmatchedRemedy(""))
		}
		return say("%s", unmatchedRemedy(v.Unmatched.Reason))
	case policy.KindSBOM:
		return sbomRemedy(v)
	case policy.KindPackage:
		return packageRemedy(v.Package)
	case policy.KindLicense:
		return licenseRemedy(v.Package)
	case policy.KindImage:
		if v.Rule == policy.RuleLazyIndexes {
			return say("promote one platform with --platform: that does not copy the manifest")
		}
		return m.image(v.Check)
	case policy.KindProvenance:
		return m.provenance(v.Check)
	case policy.KindCustom:
		return say("change the image as the rule requires")
	case policy.KindScope:
		return paste(`add to the list "images" in %s: - {match: %s, exceptions: []}`, short(m.report.Policy.File), yamlText(m.report.Input.Image.Repository))
	case policy.KindException:
		return paste("set in %s: expires: %s", positionText(v.Position), cmp.Or(m.expires, "an earlier date"))
	case policy.KindEvidence:
		if image := m.report.Input.Image.Reference; isShellWord(image) {
			return paste("imagegate check %s", image)
		}
	}
	return say("add the missing evidence, then check again")
}

func (m *remedier) vulnerability(f *evidence.Finding) instruction {
	switch {
	case f == nil:
		return say("check again: the report lacks the finding")
	case fixVersions(*f) == "":
		return say("no fixed version exists: remove %s from the image", short(f.Package.Name))
	}
	return m.upgrade[packageKey(f.Package)]
}

func databaseRemedy(rule string) instruction {
	if rule == "database.origins" {
		return say("run \"imagegate db update --url URL\" with a mirror from the list database.origins in the policy")
	}
	return paste("imagegate db update")
}

func distributionRemedy(rule string) instruction {
	if rule == "distribution.allow" {
		return say("change FROM in the Dockerfile to a distribution that the policy allows, and build again with: docker build --pull .")
	}
	return say("change FROM in the Dockerfile to a release that its vendor still supports, and build again with: docker build --pull .")
}

func unmatchedRemedy(reason evidence.UnmatchedReason) string {
	switch reason {
	case evidence.NoDistribution:
		return "keep /etc/os-release in the image: without it no system package can be matched"
	case evidence.DistributionNotInDatabase:
		return "rebuild the image on a distribution and release that the database covers"
	case evidence.TypeNotInDatabase:
		return "run \"imagegate db update\": the database has no advisories for that type of package; or remove the packages"
	case evidence.VersionUnknown:
		return "build the package with a version, or remove it"
	case evidence.VersionNotComparable:
		return "give the package a version that follows the scheme of its ecosystem, or remove it"
	case evidence.MainModule:
		return "build the program from a released version"
	case evidence.FirstParty:
		return "give the application's own package a version, or set notCovered: {firstParty: warn} in the policy"
	case evidence.NothingCataloged:
		return "keep the package metadata in the image: without it nothing can be matched"
	}
	return "remove the unmatched package, or use a database that covers it"
}

func sbomRemedy(v *policy.Violation) instruction {
	if v.Unknown == nil {
		return say("check that this is the right image, and that it contains its package metadata")
	}
	return say("repair or remove %s: its content is not in the SBOM", short(v.Unknown.Path))
}

// packageRemedy returns the remedy for a denied or outdated package. A nil p is a missing package.
func packageRemedy(p *evidence.Package) instruction {
	if p == nil {
		return say("add the package that the rule requires to the image")
	}
	if command := removal(*p); command != "" {
		return paste("%s", command)
	}
	return say("remove %s from the image, or replace it with a version that the rule accepts", short(p.Name))
}

func licenseRemedy(p *evidence.Package) instruction {
	if p == nil {
		return say("replace the package with one under another license")
	}
	return say("replace %s with a package under another license", short(p.Name))
}

// image returns how to satisfy a rule about the image.
func (m *remedier) image(check string) instruction {
	switch check {
	case "notRoot":
		return paste("USER 65532:65532")
	case "noSecrets":
		return say("revoke the credential, and hand it to the build with RUN --mount=type=secret")
	case "labels":
		return paste("docker build --label NAME=VALUE .")
	case "ports":
		return say("remove the port's EXPOSE line from the Dockerfile")
	case "maxAge":
		return paste("docker build --pull --no-cache .")
	case "maxSize":
		return say("make the image smaller: use a multi-stage build, and copy only the program with COPY --from")
	case "maxLayers":
		return say("combine RUN lines in the Dockerfile to get fewer layers")
	case "base":
		return say("change FROM in the Dockerfile to a base image that the policy allows")
	case "notLatest":
		return say("use a specific tag instead of latest")
	}
	return say("change how the image is built")
}

func (m *remedier) provenance(check string) instruction {
	image := m.report.Input.Image.Repository + "@" + m.report.Input.Image.Digest
	switch {
	case !isShellWord(image):
		return say("sign the image in the staging registry when it is built")
	case check == string(policy.ProvenanceSignature):
		return paste("cosign sign --key cosign.key %s", image)
	}
	return paste("cosign attest --type slsaprovenance1 --predicate provenance.json --key cosign.key %s", image)
}

// upgrade returns how to upgrade a package to a version with a fix, or to its newest version if
// version is empty or not a single version.
func upgrade(p evidence.Package, version string) instruction {
	known := version
	if !isShellWord(version) {
		version = ""
	}
	if p.Type == "go-module" && p.Name == "stdlib" && known != "" {
		return say("build with Go %s", known)
	}
	if command := upgradeCommand(p, version); isShellWord(p.Name) && command != "" {
		return paste("%s", command)
	}
	if known == "" {
		return say("upgrade %s to a version with all fixes", short(p.Name))
	}
	return say("upgrade %s to %s", short(p.Name), known)
}

// upgradeCommand returns "" for package types without such a command. Distributions keep only the
// newest version of a package, so a command with a fixed version would fail.
func upgradeCommand(p evidence.Package, version string) string {
	name := p.Name
	switch p.Type {
	case "deb":
		return "apt-get update && apt-get install -y --only-upgrade " + name
	case "apk":
		return "apk add --upgrade " + name
	case "rpm":
		return "dnf upgrade -y " + name
	case "gem":
		return "bundle update " + name
	case "php-composer":
		return "composer update --with-all-dependencies " + name
	case "hex":
		return "mix deps.update " + name
	case "dart-pub":
		return "dart pub upgrade " + name
	}
	if version == "" {
		return map[string]string{"npm": "npm update " + name, "python": "pip install --upgrade " + name, "rust-crate": "cargo update " + name}[p.Type]
	}
	switch p.Type {
	case "npm":
		return "npm install " + name + "@" + version
	case "python":
		return "pip install '" + name + ">=" + version + "'"
	case "go-module":
		return "go get " + name + "@v" + strings.TrimPrefix(version, "v") + " && go mod tidy"
	case "rust-crate":
		return "cargo update " + name + " --precise " + version
	case "dotnet":
		return "dotnet add package " + name + " --version " + version
	}
	return ""
}

// removal returns the command that removes a package, or "" if none is known.
func removal(p evidence.Package) string {
	command := map[string]string{
		"deb": "apt-get purge -y ", "apk": "apk del ", "rpm": "dnf remove -y ",
		"npm": "npm uninstall ", "python": "pip uninstall -y ", "gem": "bundle remove ",
	}[p.Type]
	if command == "" || !isShellWord(p.Name) {
		return ""
	}
	return command + p.Name
}

var shellWord = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9@._/+:~-]*$`)

// isShellWord reports whether s has no special meaning in any shell and is not taken for a flag.
// Names come from the image and could otherwise inject a command.
func isShellWord(s string) bool { return len(s) <= maxName && shellWord.MatchString(s) }

// exception returns an item for the list of exceptions that covers v and as little else as
// possible, or "" if v cannot be excepted.
func (m *remedier) exception(v *policy.Violation) string {
	if m.expires == "" || !v.CanBeExcepted() {
		return ""
	}
	first := "rule: " + yamlText(v.Rule)
	if v.Finding != nil {
		first = "id: " + yamlText(v.Finding.ID)
	}
	for _, limit := range append(m.limits(v), "") {
		item := "- {" + first + limit + `, reason: "why it is safe", owner: team@example.com, expires: ` + m.expires + "}"
		if isException(item) {
			return item
		}
	}
	return ""
}

// limits returns the keys that limit an exception to v, the narrowest first. None may be usable,
// because names from the image may have characters that a policy does not allow.
func (m *remedier) limits(v *policy.Violation) (limits []string) {
	var pkg *evidence.Package
	switch {
	case v.Unknown != nil:
		return append(limits, ", path: "+yamlText(pathPattern(v.Unknown.Path)))
	case v.Finding != nil:
		pkg = &v.Finding.Package
	case v.Package != nil:
		pkg = v.Package
	case v.Unmatched != nil && v.Unmatched.Package == nil:
		if pattern := m.family(v); pattern != "" {
			limits = append(limits, ", package: "+yamlText(pattern))
		}
		return limits
	case v.Unmatched != nil:
		pkg = v.Unmatched.Package
	}
	if pkg != nil && pkg.PURL != "" {
		limits = append(limits, ", package: "+yamlText(unversioned(pkg.PURL)))
	}
	if v.Unmatched != nil && len(pkg.Found) == 1 {
		limits = append(limits, ", path: "+yamlText(pathPattern(pkg.Found[0].Path)))
	}
	return limits
}

// family returns a pattern for all packages that are not covered for the same reason, or "" if the
// report does not list them.
func (m *remedier) family(v *policy.Violation) string {
	pattern := ""
	for _, p := range m.report.Input.Platforms {
		for _, pkg := range p.Packages {
			system := slices.Contains([]string{"alpm", "apk", "deb", "portage", "rpm"}, pkg.Type)
			if p.Platform != v.Platform || v.Unmatched.Type != pkg.Type && (v.Unmatched.Type != "" || !system) {
				continue
			}
			purlType, _, ok := strings.Cut(pkg.PURL, "/")
			if !ok || pattern != "" && pattern != purlType+"/*" {
				return ""
			}
			pattern = purlType + "/*"
		}
	}
	return pattern
}

// pathPattern returns the pattern that matches only this path.
func pathPattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(path)
}

// isException reports whether item is valid in a policy. Names from the image may have characters
// that a policy does not allow.
func isException(item string) bool {
	_, err := policy.Parse("", []byte("version: 1\nrules: [{name: all}]\nexceptions:\n  "+item+"\n"))
	return err == nil
}

// unversioned returns a pattern for every version of a package.
func unversioned(purl string) string {
	purl, _, _ = strings.Cut(purl, "#")
	purl, _, _ = strings.Cut(purl, "?")
	slash := strings.LastIndexByte(purl, '/') + 1
	name, _, _ := strings.Cut(purl[slash:], "@")
	return purl[:slash] + name
}

var (
	plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@:+-]*[A-Za-z0-9]$`)
	yamlWord  = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|null)$`)
)

// yamlText writes s as a YAML scalar. Its meaning does not change if the line is sanitized, because
// the quoted form already has escapes.
func yamlText(s string) string {
	if plainYAML.MatchString(s) && !yamlWord.MatchString(s) && !strings.Contains(s, "::") {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}
