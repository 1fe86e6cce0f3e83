package remedy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestNameFromTheImageIsNotPartOfACommand checks that a suggested command has a package name from
// the image only if the name has no special meaning to a shell.
func TestNameFromTheImageIsNotPartOfACommand(t *testing.T) {
	for _, name := range []string{"a; rm -rf /", "$(id)", "`id`", "a b", "-rf", "--help", "a\nb", "a|b", "a'b", "", strings.Repeat("a", 300)} {
		for _, version := range []string{"1.0", "$(id)", "1 or 2", ""} {
			for _, typ := range []string{"deb", "apk", "rpm", "npm", "python", "gem", "go-module", "rust-crate", "php-composer", "dotnet", "hex", "dart-pub", "java-archive"} {
				p := evidence.Package{Name: name, Type: typ}
				if got := Upgrade(p, version); got.Paste {
					t.Errorf("%s %q %q: %q", typ, name, version, got.Text)
				}
				if got := Removal(p); got != "" {
					t.Errorf("%s %q: %q", typ, name, got)
				}
				p.Name = "good"
				if got := Upgrade(p, version); got.Paste && strings.ContainsAny(got.Text, "$`") {
					t.Errorf("%s %q: %q", typ, version, got.Text)
				}
			}
		}
	}
}

func TestUpgradeCommands(t *testing.T) {
	for _, tt := range []struct{ typ, name, version, want string }{
		{"deb", "libpam0g", "1.5.2-6+deb12u10", "apt-get update && apt-get install -y --only-upgrade libpam0g"},
		{"deb", "libpam0g", "", "apt-get update && apt-get install -y --only-upgrade libpam0g"},
		{"apk", "openssl", "3.1.4-r5", "apk add --upgrade openssl"},
		{"rpm", "bind", "32:9.16.23-1.el9_0.1", "dnf upgrade -y bind"},
		{"npm", "@babel/traverse", "7.23.2", "npm install @babel/traverse@7.23.2"},
		{"npm", "lodash", "", "npm update lodash"},
		{"python", "certifi", "2023.7.22", "pip install 'certifi>=2023.7.22'"},
		{"gem", "rack", "2.2.19", "bundle update rack"},
		{"go-module", "github.com/tidwall/gjson", "1.9.3", "go get github.com/tidwall/gjson@v1.9.3 && go mod tidy"},
		{"go-module", "stdlib", "1.25.13 or 1.26.6", "build with Go 1.25.13 or 1.26.6"},
		{"rust-crate", "smallvec", "", "cargo update smallvec"},
		{"rust-crate", "smallvec", "1.6.1", "upgrade smallvec to 1.6.1"},
		{"dotnet", "Newtonsoft.Json", "13.0.1", "dotnet add package Newtonsoft.Json --version 13.0.1"},
		{"java-archive", "h2", "2.1.210", "upgrade h2 to 2.1.210"},
		{"java-archive", "h2", "", "upgrade h2 to a version with all fixes"},
		{"npm", "undici", "5.28.3 or 6.6.1", "npm update undici"},
	} {
		if got := Upgrade(evidence.Package{Name: tt.name, Type: tt.typ}, tt.version).Text; got != tt.want {
			t.Errorf("%s %s %s: %q, want %q", tt.typ, tt.name, tt.version, got, tt.want)
		}
	}
}

func TestPatternForEveryVersion(t *testing.T) {
	for purl, want := range map[string]string{
		"pkg:deb/debian/openssl@3.0.11-1?arch=amd64&distro=debian-12": "pkg:deb/debian/openssl",
		"pkg:npm/%40babel/traverse@7.23.1":                            "pkg:npm/%40babel/traverse",
		"pkg:npm/@babel/traverse@7.23.1":                              "pkg:npm/@babel/traverse",
		"pkg:npm/a":                                                   "pkg:npm/a",
		"pkg:golang/github.com/a/b@v1#cmd/c":                          "pkg:golang/github.com/a/b",
	} {
		if got := Unversioned(purl); got != want {
			t.Errorf("%s: %s, want %s", purl, got, want)
		}
	}
}

// TestExceptionsEndBeforeThePolicyForbidsThem checks that a suggested exception ends within the
// duration that the policy allows, and not before the exception begins.
func TestExceptionsEndBeforeThePolicyForbidsThem(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for most, want := range map[time.Duration]string{
		0: "2026-12-30", 24 * time.Hour: "2026-12-01", 365 * 24 * time.Hour: "2026-12-30", 7 * 24 * time.Hour: "2026-12-07",
		6 * time.Hour: "2026-11-30T18:00:00Z",
	} {
		if got := expiry(now, most); got != want {
			t.Errorf("at most %v: %s, want %s", most, got, want)
		}
	}
}

// TestUpgradeTarget checks which version Targets selects as the upgrade. The tests of package
// versions have more cases.
func TestUpgradeTarget(t *testing.T) {
	deb := evidence.Package{Name: "libssl3", Version: "3.0.11-1~deb12u1", Type: "deb", PURL: "pkg:deb/debian/libssl3@3.0.11-1~deb12u1?arch=amd64"}
	stdlib := evidence.Package{Name: "stdlib", Version: "go1.25.3", Type: "go-module"}
	npm := evidence.Package{Name: "undici", Version: "5.1.0", Type: "npm"}
	for _, tt := range []struct {
		pkg    evidence.Package
		fixes  [][]string
		want   string
		newest string
	}{
		{deb, [][]string{{"3.0.15-1~deb12u1"}, {"3.0.14-1~deb12u2"}}, "3.0.15-1~deb12u1", ""},
		{npm, [][]string{{"5.28.3", "6.6.1"}}, "5.28.3", ""},
		{stdlib, [][]string{{"1.25.13", "1.26.6"}, {"1.25.5", "1.26.0"}}, "1.25.13", "1.26.6"},
		{stdlib, [][]string{{"1.25.13"}}, "1.25.13", ""},
		{stdlib, [][]string{{"1.25.13", "1.27.0-rc.2"}}, "1.25.13", ""},
		{evidence.Package{Name: "x", Version: "1", Type: "binary"}, [][]string{{"a"}, {"b"}}, "", ""},
		{evidence.Package{Name: "x", Version: "1", Type: "python"}, [][]string{{"1.10"}, {"1.9"}}, "1.10", ""},
	} {
		var findings []*evidence.Finding
		for _, versions := range tt.fixes {
			f := &evidence.Finding{FixState: evidence.FixAvailable, Package: tt.pkg}
			for _, v := range versions {
				f.Fixes = append(f.Fixes, evidence.Fix{Version: v})
			}
			findings = append(findings, f)
		}
		if got, newest := Targets(tt.pkg, findings); got != tt.want || newest != tt.newest {
			t.Errorf("Targets(%s, %v) = %q, %q, want %q, %q", tt.pkg.Name, tt.fixes, got, newest, tt.want, tt.newest)
		}
	}
}

// TestCommandsAreJoined checks that several packages are upgraded by one command.
func TestCommandsAreJoined(t *testing.T) {
	many := make([]Wanted, maxNamed+1)
	for i := range many {
		many[i] = Wanted{Name: fmt.Sprintf("p%d", i), From: "1", To: "2"}
	}
	for _, tt := range []struct {
		typ  string
		all  []Wanted
		want string
	}{
		{"deb", []Wanted{{"a", "1", "2"}, {"b", "1", ""}, {"a", "3", "4"}}, "apt-get update && apt-get install -y --only-upgrade a b"},
		{"deb", many, "apt-get update && apt-get upgrade -y"},
		{"rpm", many, "dnf upgrade -y"},
		{"apk", many, "apk upgrade"},
		{"npm", []Wanted{{"a", "1.2.0", "1.3.0"}, {"b", "1.9.0", "2.0.1"}, {"@c/d", "0.3.0", "0.4.0"}, {"e", "1.0.0", ""}}, "npm update a e && npm install b@2.0.1 @c/d@0.4.0"},
		{"python", []Wanted{{"a", "1", "2.0"}, {"b", "1", ""}}, "pip install --upgrade b && pip install 'a>=2.0'"},
		{"go-module", []Wanted{{"a.example/a", "v1.0.0", "1.1.0"}, {"b.example/b", "v1.0.0", "v1.2.0"}}, "go get a.example/a@v1.1.0 b.example/b@v1.2.0 && go mod tidy"},
		{"go-module", []Wanted{{"a.example/a", "v1.0.0", "1.1.0"}, {"b.example/b", "v1.0.0", ""}}, ""},
		{"rust-crate", []Wanted{{"a", "1.0.0", "1.2.0"}, {"b", "0.2.1", "0.2.5"}}, "cargo update a@1.0.0 b@0.2.1"},
		{"rust-crate", []Wanted{{"a", "0.6.1", "0.6.14"}, {"a", "1.0.0", "1.6.1"}}, "cargo update a@0.6.1 a@1.0.0"},
		{"rust-crate", []Wanted{{"a", "1.0.0", "1.2.0"}, {"b", "0.2.1", "0.3.0"}}, ""},
		{"rust-crate", []Wanted{{"a", "1.0.0", "1.2.0"}}, "cargo update a@1.0.0 --precise 1.2.0"},
		{"rust-crate", []Wanted{{"a", "1.0.0", "2.0.0"}}, ""},
		{"rust-crate", []Wanted{{"a", "0.0.1", "0.0.2"}}, ""},
		{"rust-crate", []Wanted{{"a", "$(id)", ""}}, "cargo update a"},
		{"dotnet", []Wanted{{"A", "1", "2"}, {"B", "1", "3"}}, "dotnet add package A --version 2 && dotnet add package B --version 3"},
		{"dotnet", []Wanted{{"A", "1", "2"}, {"A", "9", "10"}}, "dotnet add package A --version 10"},
		{"npm", []Wanted{{"a", "2.0.0", "10.0.1"}, {"a", "1.0.0", "9.0.0"}, {"a", "3.0.0", "3.1.0"}}, "npm update a && npm install a@10.0.1"},
		{"gem", []Wanted{{"a", "1", "2"}, {"b", "1", "2"}}, "bundle update a b"},
		{"java-archive", []Wanted{{"a", "1", "2"}}, ""},
		{"deb", nil, ""},
	} {
		if got := Command(tt.typ, tt.all); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.typ, got, tt.want)
		}
	}
}

func TestPinnedImageHasTheRegistryOfTheUser(t *testing.T) {
	const digest = "sha256:1"
	for written, want := range map[string]string{
		"127.0.0.1:5000/team/app:1":            "127.0.0.1:5000/team/app@sha256:1",
		"127.0.0.1:5000/team/app":              "127.0.0.1:5000/team/app@sha256:1",
		"docker://127.0.0.1:5000/team/app:1":   "127.0.0.1:5000/team/app@sha256:1",
		"127.0.0.1:5000/team/app:1@sha256:123": "127.0.0.1:5000/team/app@sha256:1",
		"nginx:1":                              "nginx@sha256:1",
		"oci:builds:1":                         "localhost:5000/team/app@sha256:1",
		"":                                     "localhost:5000/team/app@sha256:1",
	} {
		if got := Pinned(evidence.Image{Reference: written, Repository: "localhost:5000/team/app", Digest: digest}); got != want {
			t.Errorf("%q: %s, want %s", written, got, want)
		}
	}
}
