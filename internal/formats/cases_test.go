package formats

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// now is the time of the run in every generated report.
var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// testPolicy has rules that block and rules that warn.
const testPolicy = `version: 1
name: production
database: {maxAge: 5d}
rules:
  - {name: exploited, kev: true}
  - {name: no critical, severity: critical}
  - {name: no high with a fix, severity: high, fix: available}
  - {name: soon, severity: high, fix: unavailable, grace: 30d}
  - {name: worth a look, effect: warn, severity: medium}
licenses:
  - {name: no copyleft, deny: [AGPL-3.0-only]}
image:
  - {name: no root, notRoot: true}
vex: {accept: [not_affected, fixed], files: true}
override: {maxLifetime: 24h, approvers: ["*"]}
`

// oneException is an item for the exceptions list of testPolicy.
const oneException = "  - {id: CVE-2020-0001, reason: the parser is not reachable, owner: team@example.com, expires: 2026-12-31}\n"

// image returns evidence about an image for these platforms, without findings.
func image(platforms ...string) evidence.Input {
	in := evidence.Input{
		Image: evidence.Image{Reference: "registry.example:5000/team/app:1.4", Repository: "registry.example:5000/team/app",
			Digest: "sha256:" + strings.Repeat("ab", 32), MediaType: "application/vnd.oci.image.index.v1+json"},
		Database: evidence.Database{Schema: "6.1.9", Built: now.Add(-time.Hour), Digest: "sha256:" + strings.Repeat("cd", 32),
			Providers: []evidence.Provider{{Name: "debian", Captured: now.Add(-2 * time.Hour)}, {Name: "kev", Captured: now.Add(-2 * time.Hour)}}},
	}
	in.Database.Advisories = []evidence.Advisories{{Distribution: "debian 12", Count: 30000}, {Type: "npm", Count: 5000}}
	for i, p := range platforms {
		in.Platforms = append(in.Platforms, evidence.Platform{Platform: p, Digest: fmt.Sprintf("sha256:%064x", i+1), Size: 1 << 20,
			Distribution: evidence.Distribution{ID: "debian", Version: "12", Name: "Debian 12"},
			Packages:     []evidence.Package{{Name: "base-files", Version: "12.4", Type: "deb", PURL: "pkg:deb/debian/base-files@12.4", Licenses: []string{"GPL-2.0-only"}}},
			Findings:     []evidence.Finding{}, Unknowns: []evidence.Unknown{}, Unmatched: []evidence.Unmatched{}, Suppressed: []evidence.Suppressed{},
			Config: &evidence.ImageConfig{User: "65532"}})
	}
	return in
}

// finding returns a vulnerability of a package in one of two ecosystems.
func finding(id string, severity evidence.Severity, pkg, version, fix string) evidence.Finding {
	f := evidence.Finding{ID: id, Severity: severity, Description: "A flaw in " + pkg + ".", URL: "https://advisories.example/" + id, Namespace: "debian:distro:debian:12",
		Package: evidence.Package{Name: pkg, Version: version, Type: "deb", PURL: "pkg:deb/debian/" + pkg + "@" + version,
			Found: []evidence.Location{{Path: "/var/lib/dpkg/status", Layer: "sha256:" + strings.Repeat("1a", 32)}}},
		Published: now.AddDate(-1, 0, 0), FixState: evidence.FixNone, Matched: []evidence.Match{{Type: "exact-direct-match", Matcher: "dpkg-matcher", Constraint: "< 2"}}}
	if fix != "" {
		f.FixState, f.Fixes = evidence.FixAvailable, []evidence.Fix{{Version: fix, Available: now.AddDate(0, -2, 0)}}
	}
	return f
}

// evaluated returns the report of a check of an image with testPolicy. exceptions are added to the
// policy's exceptions list.
func evaluated(t testing.TB, exceptions string, in evidence.Input) report.Report {
	t.Helper()
	if exceptions != "" {
		exceptions = "exceptions:\n" + exceptions
	}
	p, err := policy.Parse("policy.yaml", []byte(testPolicy+exceptions))
	if err != nil {
		t.Fatal(err)
	}
	return reportOf(policy.Set{p}, in, now)
}

func reportOf(set policy.Set, in evidence.Input, at time.Time) report.Report {
	d := set.Evaluate(in, at)
	r := report.Report{Tool: report.Tool{Name: "imagegate", Version: "v0.1.0"}, Command: "check", Started: at.Add(-time.Second), Finished: at, EvaluatedAt: at,
		Policy: report.Policy{File: set.Title(), Digest: set.Digest()}, Input: in, Decision: &d, Destinations: []report.Destination{}}
	r.Remedies = report.Remedies(r)
	return r
}

// outcomes returns one report for each way that a run can end.
func outcomes(t testing.TB) map[string]report.Report {
	t.Helper()
	two := func(findings ...evidence.Finding) evidence.Input {
		in := image("linux/amd64", "linux/arm64")
		for i := range in.Platforms {
			in.Platforms[i].Findings = findings
		}
		return in
	}
	with := func(findings ...evidence.Finding) report.Report { return evaluated(t, "", two(findings...)) }
	critical := finding("CVE-2024-0001", evidence.SeverityCritical, "openssl", "3.0.11", "3.0.15")
	medium := finding("CVE-2024-0002", evidence.SeverityMedium, "zlib1g", "1.2.13", "")
	excepted := finding("CVE-2020-0001", evidence.SeverityCritical, "curl", "7.88", "")
	root := image("linux/amd64")
	root.Platforms[0].Config.User = ""
	root.Platforms[0].Findings = []evidence.Finding{critical}
	vex := image("linux/amd64")
	vex.Platforms[0].Findings = []evidence.Finding{critical}
	vex.VEX = []evidence.VEXStatement{{ID: critical.ID, Products: []string{critical.Package.PURL}, Status: evidence.VEXNotAffected,
		Justification: "vulnerable_code_not_in_execute_path", Author: "vendor.example", Document: "vex.json", Timestamp: now.AddDate(0, -1, 0)}}
	out := map[string]report.Report{
		"passed":      with(finding("CVE-2024-0003", evidence.SeverityLow, "tzdata", "2024a", "")),
		"no findings": with(),
		"denied":      with(critical, medium),
		"denied root": evaluated(t, "", root),
		"warned":      with(medium),
		"excepted":    evaluated(t, oneException, two(excepted, medium)),
		"vex":         evaluated(t, "", vex),
		"overridden":  overridden(with(critical, medium)),
		"failed": {Tool: report.Tool{Name: "imagegate", Version: "v0.1.0"}, Command: "check", Started: now, Finished: now, Input: evidence.Input{Image: image().Image},
			Error: &report.Error{Class: report.ClassRegistry, Message: "GET https://registry.example/v2/: 503", Retryable: true}},
		"unfinished":     with(medium),
		"passed earlier": {Command: "promote", Started: now, Finished: now, Input: image("linux/amd64"), Destinations: []report.Destination{destination(report.AlreadyPromoted)}},
		"signature only": {Command: "verify", Started: now, Finished: now, Input: evidence.Input{Image: image().Image}, Destinations: []report.Destination{destination(report.SignatureVerified)}},
		"hostile":        hostileReport(),
	}
	unfinished := out["unfinished"]
	unfinished.Error = &report.Error{Class: report.ClassTrust, Message: "signing: the key service is down", Retryable: true}
	out["unfinished"] = unfinished
	return out
}

func destination(state report.State) report.Destination {
	return report.Destination{Reference: "approved.example/team/app:1.4", Repository: "approved.example/team/app", Tag: "1.4",
		Digest: "sha256:" + strings.Repeat("ab", 32), State: state, Statements: []report.Statement{}}
}

// overridden returns r as the report of a promotion whose denial was overridden.
func overridden(r report.Report) report.Report {
	g := r.Decision.Grant(policy.Override{Reason: "a fix for customers", Approver: "oncall@example.com", Expires: now.Add(time.Hour)}, now)
	r.Command, r.Override, r.Destinations = "promote", &g, []report.Destination{destination(report.Promoted)}
	return r
}

// manyFindings returns a denied report with 30,000 findings, built once. A third blocks, a third
// warns, and a third is excepted.
var manyFindings = sync.OnceValue(func() report.Report {
	in := image("linux/amd64")
	for i := range 30000 {
		id, severity := fmt.Sprintf("CVE-2024-%06d", i), evidence.SeverityCritical
		switch i % 3 {
		case 1:
			severity = evidence.SeverityMedium
		case 2:
			id = "CVE-2020-0001"
		}
		in.Platforms[0].Findings = append(in.Platforms[0].Findings, finding(id, severity, fmt.Sprintf("package-%d", i), "1.0", "1.1"))
	}
	return evaluated(panicking{}, oneException, in)
})

// panicking is a testing.TB whose failures panic, for code that runs outside a test.
type panicking struct{ testing.TB }

func (panicking) Helper()           {}
func (panicking) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// generated returns the report of a random image. The same seed gives the same report.
func generated(t testing.TB, seed uint64) report.Report {
	t.Helper()
	g := rand.New(rand.NewPCG(seed, 0))
	in := image([]string{"linux/amd64", "linux/arm64", "linux/s390x"}[:1+g.IntN(3)]...)
	pool := make([]evidence.Finding, g.IntN(30))
	worst := []int{int(evidence.SeverityMedium), int(evidence.SeverityCritical)}[seed%2] // every second image has no blocking severity
	var exceptions strings.Builder
	for i := range pool {
		id, fix := fmt.Sprintf("CVE-2024-%04d", g.IntN(20)), []string{"", "2.0", "3.0"}[g.IntN(3)]
		f := finding(id, evidence.Severity(seed%2^1+g.Uint64N(uint64(worst))), fmt.Sprintf("package-%d", g.IntN(6)), fmt.Sprint(1+g.IntN(2)), fix)
		if g.IntN(8*worst) == 0 {
			f.KEV = &evidence.KEV{Added: now.AddDate(0, -1, 0)}
		}
		if g.IntN(3) == 0 {
			f.CVSS = []evidence.CVSS{{Version: "3.1", Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Score: float64(g.IntN(101)) / 10}}
		}
		f.Package.Found[0].Path = fmt.Sprintf("/opt/%d/lock", g.IntN(3))
		pool[i] = f
		switch g.IntN(6) {
		case 0:
			fmt.Fprintf(&exceptions, "  - {id: %s, package: \"%s\", reason: r%d, owner: o, expires: 2026-12-31}\n", id, f.Package.PURL, i)
		case 1:
			in.VEX = append(in.VEX, evidence.VEXStatement{ID: id, Products: []string{f.Package.PURL}, Author: fmt.Sprint("a", g.IntN(2)),
				Status: []evidence.VEXStatus{evidence.VEXNotAffected, evidence.VEXFixed, evidence.VEXAffected}[g.IntN(3)], Justification: "component_not_present", Timestamp: now.AddDate(0, -1, 0)})
		}
	}
	for i := range in.Platforms {
		p := &in.Platforms[i]
		for _, f := range pool {
			if g.IntN(3) > 0 {
				p.Findings = append(p.Findings, f)
			}
		}
		if seed%2 == 0 {
			continue
		}
		if g.IntN(4) == 0 {
			p.Config.User = ""
		}
		if g.IntN(4) == 0 {
			p.Packages[0].Licenses = []string{"AGPL-3.0-only"}
		}
		if g.IntN(4) == 0 {
			p.Unknowns = append(p.Unknowns, evidence.Unknown{Location: evidence.Location{Path: "/opt/app.jar"}, Reason: "bad zip", Class: evidence.UnknownArchive})
		}
		if g.IntN(4) == 0 {
			p.Unmatched = append(p.Unmatched, evidence.Unmatched{Package: &evidence.Package{Name: "left-pad", Type: "npm", PURL: "pkg:npm/left-pad"}, Reason: evidence.VersionUnknown})
		}
	}
	if g.IntN(6) == 0 {
		in.Database.Built = now.AddDate(0, 0, -9)
	}
	r := evaluated(t, exceptions.String(), in)
	if !r.Decision.Passed && g.IntN(4) == 0 {
		r = overridden(r)
	} else if r.Decision.Passed && g.IntN(4) == 0 {
		r.Error = &report.Error{Class: report.ClassRegistry, Message: "PUT: 500"}
	}
	return r
}

// policyCases returns a report for each test case of package policy. The cases cover every kind of
// rule.
func policyCases(t testing.TB) map[string]report.Report {
	t.Helper()
	dirs, err := filepath.Glob("../../policy/testdata/evaluate/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	out := map[string]report.Report{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var set policy.Set
		for _, file := range files {
			p, err := policy.Parse(filepath.Base(file), read(t, file))
			if err != nil {
				t.Fatal(err)
			}
			set = append(set, p)
		}
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(read(t, filepath.Join(dir, "now")))))
		if err != nil {
			t.Fatal(err)
		}
		in, err := report.ReadInput(bytes.NewReader(read(t, filepath.Join(dir, "evidence.json"))))
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(dir)] = reportOf(set, in, at)
	}
	return out
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// write returns r written in the format f, with every problem listed. It returns an error if the
// format cannot express r.
func write(t testing.TB, f Format, r report.Report) ([]byte, error) {
	t.Helper()
	if err := f.Check(r); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := f.Write(&out, r, Options{MarkdownBytes: 1 << 30}); err != nil {
		t.Fatalf("%s: %v", f.Name, err)
	}
	return out.Bytes(), nil
}

// reportFormats returns the formats of All without the SBOM formats.
func reportFormats() []Format {
	return slices.DeleteFunc(slices.Clone(All), func(f Format) bool { return f.Document != nil })
}

// row returns the format of All with this name.
func row(t testing.TB, name string) Format {
	t.Helper()
	f, ok := ByName(name)
	if !ok {
		t.Fatalf("there is no format %q", name)
	}
	return f
}

// shared returns the path of a third-party file, such as a schema, in a folder next to the
// checkout. It skips the test if the file is missing, unless IMAGEGATE_TEST_SCHEMAS is set.
func shared(t testing.TB, file string) string {
	t.Helper()
	dir := os.Getenv("IMAGEGATE_TEST_SCHEMAS")
	if dir == "" {
		dir = "../../../shared/schemas"
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			t.Skip("there are no schemas next to the checkout")
		}
	}
	return filepath.Join(dir, file)
}

// sortedNames returns the sorted keys of a map of reports.
func sortedNames(reports map[string]report.Report) []string {
	var out []string
	for n := range reports {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
