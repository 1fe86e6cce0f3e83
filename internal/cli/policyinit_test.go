package cli

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/lint"
)

var profileTime = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func profile(t *testing.T, name string) *policy.Policy {
	t.Helper()
	data, err := profilePolicy(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(name+".yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// commentedKey matches a key of a profile that is commented out.
var commentedKey = regexp.MustCompile(`(?m)^( *)# ( *(?:- )?[a-zA-Z]+:(?: .*)?)$`)

// TestProfileHasNoDeadLine checks that each profile is valid and short, and that every setting has
// an effect, also after the commented-out sections are enabled.
func TestProfileHasNoDeadLine(t *testing.T) {
	for _, name := range profiles {
		data, err := profilePolicy(name)
		if err != nil {
			t.Fatal(err)
		}
		shown := commentedKey.ReplaceAll(data, []byte("$1$2"))
		for what, data := range map[string][]byte{"as it is": data, "with what it shows": shown} {
			p, err := policy.Parse("policy.yaml", data)
			if err != nil {
				t.Fatalf("%s, %s: %v\n%s", name, what, err, data)
			}
			if err := p.Validate(profileTime); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if problems := lint.Policy(p, profileTime); len(problems) > 0 {
				t.Errorf("%s, %s: %v", name, what, problems)
			}
			if p.Name != name {
				t.Errorf("%s is named %q", name, p.Name)
			}
		}
		if name != "audit" && bytes.Equal(shown, data) {
			t.Errorf("%s shows no exceptions", name)
		}
		if lines := bytes.Count(data, []byte("\n")); lines > 90 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
}

// ordinary returns the evidence of an image that every profile accepts, after applying change to
// it.
func ordinary(change func(*evidence.Input)) evidence.Input {
	in := evidence.Input{
		Image: evidence.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: "sha256:" + strings.Repeat("a", 64)},
		Database: evidence.Database{Built: profileTime.Add(-time.Hour), Digest: "sha256:" + strings.Repeat("b", 64),
			Providers:  []evidence.Provider{{Name: "debian", Captured: profileTime.Add(-time.Hour)}, {Name: "kev", Captured: profileTime.Add(-time.Hour)}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 30_000}}},
		Platforms: []evidence.Platform{{
			Platform: "linux/amd64", Digest: "sha256:" + strings.Repeat("c", 64), Distribution: evidence.Distribution{ID: "debian", Version: "12"},
			Packages: []evidence.Package{{Name: "openssl", Version: "3.0.11-1", Type: "deb", PURL: "pkg:deb/debian/openssl@3.0.11-1"}},
			Config:   &evidence.ImageConfig{User: "65532", Created: profileTime.Add(-time.Hour)},
		}},
	}
	change(&in)
	return in
}

func found(severity evidence.Severity, fixedDaysAgo int, kev bool) func(*evidence.Input) {
	return func(in *evidence.Input) {
		f := evidence.Finding{ID: "CVE-2026-0001", Severity: severity, FixState: evidence.FixNone, Package: in.Platforms[0].Packages[0]}
		if fixedDaysAgo > 0 {
			f.FixState = evidence.FixAvailable
			f.Fixes = []evidence.Fix{{Version: "3.0.12-1", Available: profileTime.AddDate(0, 0, -fixedDaysAgo)}}
		}
		if kev {
			f.KEV = &evidence.KEV{Added: profileTime}
		}
		in.Platforms[0].Findings = []evidence.Finding{f}
	}
}

// TestAuditDeniesNothingThatOthersDeny checks that the profile audit passes the images that starter
// or strict denies, and warns about their findings instead, if the database is usable. The profile
// strict must deny everything that starter denies.
func TestAuditDeniesNothingThatOthersDeny(t *testing.T) {
	for name, tt := range map[string]struct {
		change          func(*evidence.Input)
		starter, strict bool // whether the profile denies the evidence
	}{
		"nothing wrong":          {func(*evidence.Input) {}, false, false},
		"critical without a fix": {found(evidence.SeverityCritical, 0, false), true, true},
		"unknown severity":       {found(evidence.SeverityUnknown, 0, false), true, true},
		"exploited and low":      {found(evidence.SeverityLow, 0, true), true, true},
		"high, old fix":          {found(evidence.SeverityHigh, 15, false), true, true},
		"high, new fix":          {found(evidence.SeverityHigh, 3, false), false, true},
		"high without a fix":     {found(evidence.SeverityHigh, 0, false), false, true},
		"medium, old fix":        {found(evidence.SeverityMedium, 31, false), false, true},
		"medium, new fix":        {found(evidence.SeverityMedium, 15, false), false, false},
		"medium without a fix":   {found(evidence.SeverityMedium, 0, false), false, false},
		"low, old fix":           {found(evidence.SeverityLow, 400, false), false, false},
		"root":                   {func(in *evidence.Input) { in.Platforms[0].Config.User = "" }, false, true},
		"a credential": {func(in *evidence.Input) {
			in.Platforms[0].Config.Secrets = []evidence.Secret{{Kind: "github-pat", Where: "environment variable TOKEN"}}
		}, false, true},
		"end of life": {func(in *evidence.Input) { in.Platforms[0].Distribution.EndOfLife = profileTime.AddDate(0, -1, 0) }, true, true},
		"not covered": {func(in *evidence.Input) {
			in.Platforms[0].Unmatched = []evidence.Unmatched{{Type: "npm", Packages: 1, Reason: evidence.TypeNotInDatabase}}
		}, true, true},
		"unreadable": {func(in *evidence.Input) {
			in.Platforms[0].Unknowns = []evidence.Unknown{{Location: evidence.Location{Path: "/app/a.jar"}, Reason: "not a zip"}}
		}, true, true},
		"no packages": {func(in *evidence.Input) { in.Platforms[0].Packages = nil }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			in := ordinary(tt.change)
			for profileName, denied := range map[string]bool{"starter": tt.starter, "strict": tt.strict, "audit": false} {
				d := profile(t, profileName).Evaluate(in, profileTime)
				if d.Passed == denied {
					t.Errorf("%s: passed is %v: %+v", profileName, d.Passed, d.Violations)
				}
				if profileName == "audit" && tt.strict && name != "no packages" && len(d.Warnings) == 0 {
					t.Error("audit shows nothing")
				}
			}
		})
	}
	// All profiles deny an image if the database is unusable.
	for name, change := range map[string]func(*evidence.Input){
		"empty": func(in *evidence.Input) { in.Database.Advisories = nil },
		"old":   func(in *evidence.Input) { in.Database.Built = profileTime.AddDate(0, -1, 0) },
	} {
		for _, profileName := range profiles {
			if profile(t, profileName).Evaluate(ordinary(change), profileTime).Passed {
				t.Errorf("%s passes with a database that is %s", profileName, name)
			}
		}
	}
}

func TestUnknownProfileIsNotWritten(t *testing.T) {
	const all = "expected one of starter, strict, audit"
	for name, want := range map[string]string{
		"stater": `unknown profile "stater": ` + all + `: did you mean starter?`,
		"Strict": `unknown profile "Strict": ` + all + `: did you mean strict?`,
		"":       `unknown profile "": ` + all,
		"secure": `unknown profile "secure": ` + all,
		"../x":   `unknown profile "../x": ` + all,
	} {
		data, err := profilePolicy(name)
		if err == nil || err.Error() != want || data != nil {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}
