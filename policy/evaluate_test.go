package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// cleanInput returns evidence with one platform that passes every policy.
func cleanInput() evidence.Input {
	return evidence.Input{
		Image: evidence.Image{
			Reference: "registry.example/team/app:1", Repository: "registry.example/team/app",
			Digest: "sha256:" + strings.Repeat("a", 64),
		},
		Database: evidence.Database{
			Schema: "6.1.9", Digest: "sha256:" + strings.Repeat("d", 64), Built: now.Add(-time.Hour),
			Providers:  []evidence.Provider{{Name: "nvd", Captured: now.Add(-2 * time.Hour)}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 30_000}, {Type: "npm", Count: 4000}},
		},
		Platforms: []evidence.Platform{{
			Platform: "linux/amd64", Digest: "sha256:" + strings.Repeat("b", 64),
			Distribution: evidence.Distribution{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)"},
			Packages:     []evidence.Package{{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"}},
		}},
	}
}

func withFindings(findings ...evidence.Finding) evidence.Input {
	in := cleanInput()
	in.Platforms[0].Findings = findings
	return in
}

func finding(id string, severity evidence.Severity) evidence.Finding {
	return evidence.Finding{
		ID: id, Severity: severity, FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "4.17.21"}},
		Package: evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"},
	}
}

func blockAll(exceptions ...Exception) *Policy {
	return &Policy{Rules: []Rule{{Name: "all"}}, Exceptions: exceptions}
}

func exceptionFor(id string) Exception {
	return Exception{ID: id, Reason: "r", Owner: "o", Expires: now.Add(24 * time.Hour)}
}

// denied checks that d is a denial with exactly these violations, each written as "kind rule".
func denied(t *testing.T, d Decision, want ...string) {
	t.Helper()
	if d.Passed {
		t.Error("passed")
	}
	got := make([]string, 0, len(d.Violations))
	for _, v := range d.Violations {
		got = append(got, string(v.Kind)+" "+v.Rule)
		if v.Message == "" {
			t.Errorf("no message: %+v", v)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func passed(t *testing.T, d Decision) {
	t.Helper()
	if !d.Passed || len(d.Violations) != 0 {
		t.Errorf("denied: %+v", d.Violations)
	}
}

func TestCleanImagePasses(t *testing.T) {
	d := blockAll().Evaluate(cleanInput(), now)
	passed(t, d)
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"passed":true,"violations":[],"warnings":[],"excepted":[],"notAffected":[],"allowed":[],"until":"2026-06-20T10:00:00Z"}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestZeroDecisionIsNoPass(t *testing.T) {
	if (Decision{}).Passed {
		t.Error("passed")
	}
}

func TestNoPolicyIsNoPass(t *testing.T) {
	var none *Policy
	in := withFindings(finding("CVE-1", evidence.SeverityLow))
	d := none.Evaluate(in, now)
	denied(t, d, "evidence evidence")
	if want := "no policy: no image can pass"; d.Violations[0].Message != want {
		t.Errorf("message %q, want %q", d.Violations[0].Message, want)
	}
	if len(d.Allowed) != 1 {
		t.Errorf("allowed: %+v", d.Allowed)
	}
	denied(t, (&Policy{}).Evaluate(in, now), "evidence evidence")
}

func TestIncompleteEvidenceIsNotClean(t *testing.T) {
	denied(t, blockAll().Evaluate(evidence.Input{}, now),
		"evidence evidence", "evidence evidence", "database database.maxAge", "database database.maxAge",
		"database database.minAdvisories")

	for name, spoil := range map[string]func(*evidence.Input){
		"no image digest":    func(in *evidence.Input) { in.Image.Digest = "" },
		"no platforms":       func(in *evidence.Input) { in.Platforms = nil },
		"no platform digest": func(in *evidence.Input) { in.Platforms[0].Digest = "" },
		"one platform without digest": func(in *evidence.Input) {
			second := in.Platforms[0]
			second.Platform, second.Digest = "linux/arm64", ""
			in.Platforms = append(in.Platforms, second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := cleanInput()
			spoil(&in)
			denied(t, blockAll().Evaluate(in, now), "evidence evidence")
		})
	}
}

func TestUndatedDatabaseIsNotFresh(t *testing.T) {
	for name, spoil := range map[string]func(*evidence.Database){
		"no build date":               func(db *evidence.Database) { db.Built = time.Time{} },
		"no providers":                func(db *evidence.Database) { db.Providers = nil },
		"a provider without a date":   func(db *evidence.Database) { db.Providers = append(db.Providers, evidence.Provider{Name: "ghsa"}) },
		"built in the future":         func(db *evidence.Database) { db.Built = now.Add(time.Hour) },
		"captured in the future":      func(db *evidence.Database) { db.Providers[0].Captured = now.Add(time.Hour) },
		"built just beyond the skew":  func(db *evidence.Database) { db.Built = now.Add(clock.Skew + 1) },
		"built long before the limit": func(db *evidence.Database) { db.Built = now.AddDate(-10, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			in := cleanInput()
			spoil(&in.Database)
			denied(t, blockAll().Evaluate(in, now), "database database.maxAge")
		})
	}
	in := cleanInput()
	in.Database.Built = now.Add(clock.Skew)
	passed(t, blockAll().Evaluate(in, now))
}

func TestOldDatabaseIsNotAccepted(t *testing.T) {
	for _, limit := range []time.Duration{0, 36 * time.Hour} {
		p := blockAll()
		p.Database.MaxAge = limit
		if limit == 0 {
			limit = DefaultMaxAge
		}
		in := cleanInput()
		in.Database.Providers[0].Captured = in.Database.Built
		end := in.Database.Built.Add(limit)
		d := p.Evaluate(in, end.Add(-1))
		passed(t, d)
		if !d.Until.Equal(end) {
			t.Errorf("until %v, want %v", d.Until, end)
		}
		denied(t, p.Evaluate(in, end), "database database.maxAge", "database database.maxAge")
	}
	negative := blockAll()
	negative.Database.MaxAge = -1
	in := cleanInput()
	in.Database.Built, in.Database.Providers[0].Captured = now, now
	if negative.Evaluate(in, now).Passed {
		t.Error("a negative limit passes")
	}
}

func TestFreshBuildOfOldDataIsNotFresh(t *testing.T) {
	in := cleanInput()
	in.Database.Providers = []evidence.Provider{
		{Name: "ubuntu", Captured: now.Add(-DefaultMaxAge)},
		{Name: "nvd", Captured: now.Add(-DefaultMaxAge + 1)},
		{Name: "alpine", Captured: now.AddDate(-1, 0, 0)},
	}
	d := blockAll().Evaluate(in, now)
	denied(t, d, "database database.maxAge", "database database.maxAge")
	for i, name := range []string{`"alpine"`, `"ubuntu"`} {
		if !strings.Contains(d.Violations[i].Message, name) {
			t.Errorf("%q does not name %s", d.Violations[i].Message, name)
		}
	}
}

func TestUnknownSeverityIsNotLow(t *testing.T) {
	p := &Policy{Rules: []Rule{{Name: "critical", Severity: evidence.SeverityCritical}}}
	denied(t, p.Evaluate(withFindings(finding("CVE-1", evidence.SeverityUnknown)), now), "vulnerability critical")
	d := p.Evaluate(withFindings(finding("CVE-1", evidence.SeverityHigh)), now)
	passed(t, d)
	if len(d.Allowed) != 1 {
		t.Errorf("allowed: %+v", d.Allowed)
	}
}

func TestNonsenseInAPolicyIsStrict(t *testing.T) {
	for _, r := range []Rule{
		{Name: "r", Effect: 7},
		{Name: "r", Severity: 99},
		{Name: "r", Fix: "sometimes"},
	} {
		denied(t, (&Policy{Rules: []Rule{r}}).Evaluate(withFindings(finding("CVE-1", evidence.SeverityLow)), now), "vulnerability r")
	}
	p := blockAll()
	p.Distribution.EndOfLife = 7
	in := cleanInput()
	in.Platforms[0].Distribution.EndOfLife = now
	denied(t, p.Evaluate(in, now), "distribution distribution.endOfLife")
}

func TestNothingCatalogedIsNotClean(t *testing.T) {
	in := cleanInput()
	in.Platforms[0].Packages, in.Platforms[0].Distribution = nil, evidence.Distribution{}
	p := blockAll()
	p.SBOM.Unknowns, p.Distribution = warnUnknowns, DistributionRule{EndOfLife: Warn, NotCovered: warnNotCovered}
	denied(t, p.Evaluate(in, now), "sbom sbom")

	in.Platforms[0].Unmatched = []evidence.Unmatched{{Reason: evidence.NothingCataloged}}
	denied(t, blockAll().Evaluate(in, now), "coverage distribution.notCovered", "sbom sbom")

	in = cleanInput()
	in.Platforms[0].Packages = nil // A distribution is enough evidence, even without packages.
	passed(t, blockAll().Evaluate(in, now))
	p.SBOM.MinPackages = 1
	denied(t, p.Evaluate(in, now), "sbom sbom.minPackages")
	in = cleanInput()
	in.Platforms[0].Distribution = evidence.Distribution{}
	passed(t, p.Evaluate(in, now))
	p.SBOM.MinPackages = 2
	denied(t, p.Evaluate(in, now), "sbom sbom.minPackages")
}

func TestOnePlatformWithoutPackagesIsNotHiddenByAnother(t *testing.T) {
	in := cleanInput()
	in.Platforms = append(in.Platforms, evidence.Platform{Platform: "linux/arm64", Digest: "sha256:c"})
	d := blockAll().Evaluate(in, now)
	denied(t, d, "sbom sbom")
	if d.Violations[0].Platform != "linux/arm64" {
		t.Errorf("platform %q", d.Violations[0].Platform)
	}
}

func TestUnreadFileIsNotClean(t *testing.T) {
	in := cleanInput()
	in.Platforms[0].Unknowns = []evidence.Unknown{{Location: evidence.Location{Path: "/app.jar"}, Reason: "zip: not a valid zip file"}}
	d := blockAll().Evaluate(in, now)
	denied(t, d, "sbom sbom.unknowns")
	if diff := cmp.Diff(&in.Platforms[0].Unknowns[0], d.Violations[0].Unknown); diff != "" {
		t.Error(diff)
	}
	p := blockAll()
	p.SBOM.Unknowns = warnUnknowns
	d = p.Evaluate(in, now)
	passed(t, d)
	if len(d.Warnings) != 1 {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func testUnmatched(t *testing.T, u evidence.Unmatched) {
	t.Helper()
	in := cleanInput()
	in.Platforms[0].Unmatched = []evidence.Unmatched{u}
	d := blockAll().Evaluate(in, now)
	denied(t, d, "coverage distribution.notCovered")
	if diff := cmp.Diff(&u, d.Violations[0].Unmatched); diff != "" {
		t.Error(diff)
	}
	p := blockAll()
	p.Distribution.NotCovered = warnNotCovered
	d = p.Evaluate(in, now)
	passed(t, d)
	if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindCoverage {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func TestMissingDistributionIsNotClean(t *testing.T) {
	testUnmatched(t, evidence.Unmatched{Reason: evidence.NoDistribution})
}

func TestDistributionOutsideTheDatabaseIsNotClean(t *testing.T) {
	testUnmatched(t, evidence.Unmatched{Reason: evidence.DistributionNotInDatabase, Detail: "debian 99"})
}

func TestPackageWithoutComparableVersionIsNotClean(t *testing.T) {
	testUnmatched(t, evidence.Unmatched{Reason: evidence.VersionUnknown, Package: &evidence.Package{Name: "x", Version: "UNKNOWN"}})
	testUnmatched(t, evidence.Unmatched{Reason: evidence.VersionNotComparable, Package: &evidence.Package{Name: "x", Version: "abc"}})
	testUnmatched(t, evidence.Unmatched{Reason: "a reason of a later version"})
}

func TestMainModuleWarnsAndNeverBlocks(t *testing.T) {
	in := cleanInput()
	in.Platforms[0].Unmatched = []evidence.Unmatched{{Reason: evidence.MainModule, Package: &evidence.Package{Name: "example.com/app", Version: "(devel)"}}}
	d := blockAll().Evaluate(in, now)
	passed(t, d)
	if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindCoverage {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func TestEndOfLifeIsNotClean(t *testing.T) {
	in := cleanInput()
	end := now.Add(time.Hour)
	in.Platforms[0].Distribution.EndOfLife = end
	d := blockAll().Evaluate(in, end.Add(-1))
	passed(t, d)
	if !d.Until.Equal(end) {
		t.Errorf("until %v, want %v", d.Until, end)
	}
	denied(t, blockAll().Evaluate(in, end), "distribution distribution.endOfLife")
	p := blockAll()
	p.Distribution.EndOfLife = Warn
	d = p.Evaluate(in, end)
	passed(t, d)
	if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindDistribution {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func TestFirstBlockingRuleDecides(t *testing.T) {
	rules := map[string]Rule{
		"w1": {Name: "w1", Effect: Warn}, "w2": {Name: "w2", Effect: Warn},
		"b1": {Name: "b1", Severity: evidence.SeverityHigh}, "b2": {Name: "b2", Severity: evidence.SeverityHigh},
	}
	for _, tt := range []struct {
		rules, high, low string // the rules in order, and the deciding rules for the two findings
	}{
		{"w1 w2 b1 b2", "b1", "w1"},
		{"b2 b1 w2 w1", "b2", "w2"},
		{"b1", "b1", ""},
		{"w2", "w2", "w2"},
	} {
		p := &Policy{}
		for name := range strings.FieldsSeq(tt.rules) {
			p.Rules = append(p.Rules, rules[name])
		}
		for severity, want := range map[evidence.Severity]string{evidence.SeverityHigh: tt.high, evidence.SeverityLow: tt.low} {
			d := p.Evaluate(withFindings(finding("CVE-1", severity)), now)
			got := ""
			for _, v := range append(d.Violations, d.Warnings...) {
				got += v.Rule
			}
			if got != want {
				t.Errorf("%s: %s finding: rule %q, want %q", tt.rules, severity, got, want)
			}
		}
	}
}

func TestFixConditions(t *testing.T) {
	for _, tt := range []struct {
		state   evidence.FixState
		fixes   []evidence.Fix
		fixable bool
	}{
		{evidence.FixAvailable, []evidence.Fix{{Version: "2"}}, true},
		{evidence.FixAvailable, nil, true}, // the vendor states a fix but does not name the fixed version
		{evidence.FixUnknown, []evidence.Fix{{Version: "2"}}, true},
		{evidence.FixNone, nil, false}, {evidence.FixWont, nil, false}, {evidence.FixUnknown, nil, false}, {"", nil, false},
	} {
		f := finding("CVE-1", evidence.SeverityHigh)
		f.FixState, f.Fixes = tt.state, tt.fixes
		for condition, want := range map[Fixable]bool{FixableAny: true, FixableYes: tt.fixable, FixableNo: !tt.fixable} {
			if got := matches(Rule{Fix: condition}, f); got != want {
				t.Errorf("condition %q, state %q, fixes %v: %v", condition, tt.state, tt.fixes, got)
			}
		}
	}
}

func TestExceptionEndsWhenItExpires(t *testing.T) {
	e := exceptionFor("CVE-1")
	in := withFindings(finding("CVE-1", evidence.SeverityHigh))
	d := blockAll(e).Evaluate(in, e.Expires.Add(-1))
	passed(t, d)
	if !d.Until.Equal(e.Expires) {
		t.Errorf("until %v, want %v", d.Until, e.Expires)
	}
	want := []Excepted{{
		Violation: Violation{
			Kind: KindVulnerability, Rule: "all", Platform: "linux/amd64", Finding: &in.Platforms[0].Findings[0],
			Message: "CVE-1 in lodash 4.17.20: severity high, fixed in 4.17.21",
		},
		Exception: e,
	}}
	if diff := cmp.Diff(want, d.Excepted); diff != "" {
		t.Error(diff)
	}

	d = blockAll(e).Evaluate(in, e.Expires)
	denied(t, d, "vulnerability all")
	if diff := cmp.Diff([]Exception{e}, d.Violations[0].Expired); diff != "" {
		t.Error(diff)
	}
	if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindException {
		t.Errorf("warnings: %+v", d.Warnings)
	}
}

func TestExceptionWithoutEndCoversNothing(t *testing.T) {
	e := exceptionFor("CVE-1")
	e.Expires = time.Time{}
	denied(t, blockAll(e).Evaluate(withFindings(finding("CVE-1", evidence.SeverityLow)), now), "vulnerability all")
}

func TestExceptionWithoutIDCoversNothing(t *testing.T) {
	denied(t, blockAll(exceptionFor("")).Evaluate(withFindings(finding("", evidence.SeverityLow)), now), "vulnerability all")
}

func TestExceptionCoversOnlyWhatItNames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Exception, *evidence.Finding)
		covers bool
	}{
		{"id", func(*Exception, *evidence.Finding) {}, true},
		{"id in another case", func(e *Exception, f *evidence.Finding) { e.ID = "cve-1" }, true},
		{"alias", func(e *Exception, f *evidence.Finding) { f.ID, f.Aliases = "GHSA-1", []string{"X", "CVE-1"} }, true},
		{"alias in another case", func(e *Exception, f *evidence.Finding) { f.ID, f.Aliases = "GHSA-1", []string{"cve-1"} }, true},
		{"longer id", func(e *Exception, f *evidence.Finding) { f.ID = "CVE-11" }, false},
		{"package", func(e *Exception, f *evidence.Finding) { e.Package = "pkg:npm/lodash" }, true},
		{"other package", func(e *Exception, f *evidence.Finding) { e.Package = "pkg:npm/lodash-es" }, false},
		{"other version", func(e *Exception, f *evidence.Finding) { e.Package = "pkg:npm/lodash@4.17.2" }, false},
		{"package without purl", func(e *Exception, f *evidence.Finding) { e.Package, f.Package.PURL = "pkg:npm/lodash", "" }, false},
		{"image", func(e *Exception, f *evidence.Finding) { e.Image = "registry.example/team/*" }, true},
		{"other image", func(e *Exception, f *evidence.Finding) { e.Image = "registry.example/other/*" }, false},
		{"image by its tag", func(e *Exception, f *evidence.Finding) { e.Image = "registry.example/team/app:1" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, f := exceptionFor("CVE-1"), finding("CVE-1", evidence.SeverityHigh)
			tt.change(&e, &f)
			d := blockAll(e).Evaluate(withFindings(f), now)
			if tt.covers {
				passed(t, d)
				return
			}
			denied(t, d, "vulnerability all")
			if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindException {
				t.Errorf("an unused exception is not mentioned: %+v", d.Warnings)
			}
		})
	}
}

func TestExceptionForOnePackageDoesNotCoverAnother(t *testing.T) {
	e := exceptionFor("CVE-1")
	e.Package = "pkg:npm/lodash"
	other := finding("CVE-1", evidence.SeverityHigh)
	other.Package = evidence.Package{Name: "underscore", Version: "1", PURL: "pkg:npm/underscore@1"}
	d := blockAll(e).Evaluate(withFindings(finding("CVE-1", evidence.SeverityHigh), other), now)
	denied(t, d, "vulnerability all")
	if d.Violations[0].Finding.Package.Name != "underscore" || len(d.Excepted) != 1 {
		t.Errorf("%+v", d)
	}
}

// TestExceptionDoesNotLeakThroughAnAlias evaluates a finding with an id and an alias before a
// finding with only the id. The exceptions for the alias must not apply to the second finding.
func TestExceptionDoesNotLeakThroughAnAlias(t *testing.T) {
	exceptions := []Exception{exceptionFor("GHSA-1")}
	for _, version := range []string{"1", "2", "3"} { // Append one by one, so that the slice has capacity for a fourth element. Evaluate must not write into that capacity.
		e := exceptionFor("CVE-1")
		e.Package = "pkg:npm/other@" + version
		exceptions = append(exceptions, e)
	}
	both, one := finding("CVE-1", evidence.SeverityCritical), finding("CVE-1", evidence.SeverityHigh)
	both.Aliases = []string{"GHSA-1"}
	d := blockAll(exceptions...).Evaluate(withFindings(both, one), now)
	denied(t, d, "vulnerability all")
	if len(d.Excepted) != 1 || d.Violations[0].Finding.Severity != evidence.SeverityHigh {
		t.Errorf("%+v", d)
	}
}

func TestExceptionCoversVulnerabilitiesOnly(t *testing.T) {
	in := cleanInput()
	in.Platforms[0].Unknowns = []evidence.Unknown{{Reason: "CVE-1"}}
	in.Database.Built = time.Time{}
	denied(t, blockAll(exceptionFor("CVE-1")).Evaluate(in, now), "database database.maxAge", "sbom sbom.unknowns")
}

func TestExceptionIsNotSpentOnAWarning(t *testing.T) {
	p := &Policy{Rules: []Rule{{Name: "all", Effect: Warn}}, Exceptions: []Exception{exceptionFor("CVE-1")}}
	d := p.Evaluate(withFindings(finding("CVE-1", evidence.SeverityHigh)), now)
	passed(t, d)
	if len(d.Excepted) != 0 || len(d.Warnings) != 2 {
		t.Errorf("%+v", d)
	}
}

func TestLongestExceptionCovers(t *testing.T) {
	short, long, gone := exceptionFor("CVE-1"), exceptionFor("GHSA-1"), exceptionFor("CVE-1")
	long.Expires, gone.Expires = short.Expires.Add(time.Hour), now
	f := finding("CVE-1", evidence.SeverityHigh)
	f.Aliases = []string{"GHSA-1", "CVE-1"}
	d := blockAll(short, gone, long).Evaluate(withFindings(f), now)
	passed(t, d)
	if diff := cmp.Diff(long, d.Excepted[0].Exception); diff != "" {
		t.Error(diff)
	}
	if !d.Until.Equal(short.Expires) {
		t.Errorf("until %v, want %v: %q is used as well", d.Until, short.Expires, short.ID)
	}
	if len(d.Warnings) != 1 { // only the warning about the expired exception
		t.Errorf("warnings: %+v", d.Warnings)
	}
	d = blockAll(short, gone, long).Evaluate(withFindings(f), long.Expires)
	if diff := cmp.Diff([]Exception{short, gone, long}, d.Violations[0].Expired); diff != "" {
		t.Error(diff)
	}
}

func TestOrderOfTheInputDoesNotShow(t *testing.T) {
	var findings []evidence.Finding
	for _, severity := range []evidence.Severity{evidence.SeverityLow, evidence.SeverityCritical, evidence.SeverityUnknown} {
		for _, id := range []string{"CVE-2", "CVE-1"} {
			for _, version := range []string{"2", "1"} {
				f := finding(id, severity)
				f.Package.Version = version
				findings = append(findings, f)
			}
		}
	}
	in := withFindings(findings...)
	second := in.Platforms[0]
	second.Platform = "linux/386"
	second.Unknowns = []evidence.Unknown{{Location: evidence.Location{Path: "/b"}}, {Location: evidence.Location{Path: "/a"}}}
	second.Unmatched = []evidence.Unmatched{{Package: &evidence.Package{Name: "b"}}, {Package: &evidence.Package{Name: "a"}}, {Reason: evidence.NoDistribution}}
	in.Platforms = append(in.Platforms, second)
	in.Database.Providers = []evidence.Provider{{Name: "b"}, {Name: "a"}}
	before := asJSON(t, in)
	want := blockAll().Evaluate(in, now)
	if after := asJSON(t, in); after != before {
		t.Error("the input has changed")
	}

	var got []string
	for _, v := range want.Violations {
		if v.Finding != nil {
			got = append(got, fmt.Sprint(v.Platform, " ", v.Finding.Severity, " ", v.Finding.ID, " ", v.Finding.Package.Version))
		}
	}
	for i, platform := range []string{"linux/386", "linux/amd64"} {
		for j, severity := range []string{"unknown", "critical", "low"} {
			for k, rest := range []string{"CVE-1 1", "CVE-1 2", "CVE-2 1", "CVE-2 2"} {
				if at, want := 12*i+4*j+k, platform+" "+severity+" "+rest; got[at] != want {
					t.Errorf("finding %d is %s, want %s", at, got[at], want)
				}
			}
		}
	}

	for i := range in.Platforms {
		slices.Reverse(in.Platforms[i].Findings)
		slices.Reverse(in.Platforms[i].Unknowns)
		slices.Reverse(in.Platforms[i].Unmatched)
	}
	slices.Reverse(in.Platforms)
	slices.Reverse(in.Database.Providers)
	if diff := cmp.Diff(want, blockAll().Evaluate(in, now)); diff != "" {
		t.Error(diff)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEffectText(t *testing.T) {
	for effect, want := range map[Effect]string{Block: "block", Warn: "warn"} {
		text, err := effect.MarshalText()
		if err != nil || string(text) != want || effect.String() != want {
			t.Errorf("%q, %v, %q; want %q", text, err, effect, want)
		}
		var back Effect = 9
		if err := back.UnmarshalText(text); err != nil || back != effect {
			t.Errorf("back to %v, %v", back, err)
		}
	}
	if text, err := Effect(2).MarshalText(); err == nil {
		t.Errorf("marshalled %q", text)
	}
	for _, s := range []string{"", "Block", "allow", "ignore", "0"} {
		var e Effect
		if err := e.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q is %v", s, e)
		}
	}
}
