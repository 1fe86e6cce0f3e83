package report

import (
	"testing"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestOwnerFollowsTheLayers checks which owner a finding gets. The package database belongs to the
// layer that wrote it last, so it does not show the origin of a package in a lower layer.
func TestOwnerFollowsTheLayers(t *testing.T) {
	const base, own = "sha256:base", "sha256:own"
	known := []evidence.Platform{{Platform: "linux/amd64", Layers: []evidence.Layer{{DiffID: base, FromBase: true}, {DiffID: own}}}}
	silent := []evidence.Platform{{Platform: "linux/amd64", Layers: []evidence.Layer{{DiffID: base}, {DiffID: own}}}}
	at := func(path, layer string) evidence.Location { return evidence.Location{Path: path, Layer: layer} }
	for name, tt := range map[string]struct {
		platforms []evidence.Platform
		places    []evidence.Location
		want      owner
	}{
		"a package of the base image":          {known, []evidence.Location{at("/var/lib/dpkg/status", own), at("/var/lib/dpkg/info/zlib1g.md5sums", base)}, ownerBase},
		"a package that was added":             {known, []evidence.Location{at("/var/lib/dpkg/status", own), at("/var/lib/dpkg/info/curl.md5sums", own)}, ownerImage},
		"an upgrade with files left below":     {known, []evidence.Location{at("/usr/share/doc/zlib1g/copyright", base), at("/var/lib/dpkg/info/zlib1g.md5sums", own)}, ownerImage},
		"the database of the base image":       {known, []evidence.Location{at("/lib/apk/db/installed", base)}, ownerBase},
		"a database that was written again":    {known, []evidence.Location{at("/lib/apk/db/installed", own)}, ownerUnknown},
		"an RPM database":                      {known, []evidence.Location{at("/var/lib/rpm/rpmdb.sqlite", own)}, ownerUnknown},
		"a distroless package":                 {known, []evidence.Location{at("/var/lib/dpkg/status.d/zlib1g", base)}, ownerBase},
		"an npm package":                       {known, []evidence.Location{at("/app/node_modules/a/package.json", own)}, ownerImage},
		"a layer that the image does not have": {known, []evidence.Location{at("/app/a", "sha256:other")}, ownerUnknown},
		"no place":                             {known, nil, ownerUnknown},
		"a history without a base image":       {silent, []evidence.Location{at("/app/a", base)}, ownerUnknown},
		"no layers":                            {nil, []evidence.Location{at("/app/a", base)}, ownerUnknown},
	} {
		l := newLayers(tt.platforms)
		if got := l.owner(&Item{Places: tt.places}); got != tt.want {
			t.Errorf("%s: owner %d, want %d", name, got, tt.want)
		}
	}
}

// TestPlacesAreShared checks that packages of one package manager in one folder form one batch.
func TestPlacesAreShared(t *testing.T) {
	for path, want := range map[string]string{
		"/app/node_modules/a/package.json":                              "/app/node_modules",
		"/app/node_modules/a/node_modules/b/package.json":               "/app/node_modules",
		"/usr/lib/python3/dist-packages/flask-3.0.0.dist-info/METADATA": "/usr/lib/python3/dist-packages",
		"/var/lib/gems/3.1.0/specifications/rack-2.2.6.gemspec":         "/var/lib/gems/3.1.0/specifications",
		"/app/package-lock.json":                                        "/app/package-lock.json",
		"/app/package.json":                                             "/app",
	} {
		if got := folder("npm", path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := folder("java-archive", "/app/lib/h2.jar"); got != "/app/lib" {
		t.Errorf("an archive: %s", got)
	}
	if got := folder("go-module", "/usr/bin/restic"); got != "/usr/bin/restic" {
		t.Errorf("a program: %s", got)
	}
}

// TestLinks checks that link builds a URL only from a well-formed advisory id.
func TestLinks(t *testing.T) {
	for _, tt := range []struct{ id, url, want string }{
		{"CVE-2026-30666", "https://security-tracker.debian.org/tracker/CVE-2026-30666", "https://security-tracker.debian.org/tracker/CVE-2026-30666"},
		{"CVE-2026-30666", "javascript:alert(1)", "https://nvd.nist.gov/vuln/detail/CVE-2026-30666"},
		{"GHSA-869p-cjfg-cm3x", "", "https://github.com/advisories/GHSA-869p-cjfg-cm3x"},
		{"GO-2026-4001", "", "https://pkg.go.dev/vuln/GO-2026-4001"},
		{"CVE-1/../../x", "", ""},
		{"ELSA-2026-1", "", ""},
	} {
		if got := link(&evidence.Finding{ID: tt.id, URL: tt.url}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.id, got, tt.want)
		}
	}
}

// TestSourcePackage checks that a finding matched through a source package is grouped under that
// source package.
func TestSourcePackage(t *testing.T) {
	f := func(name, via string) Item {
		match := evidence.Match{Type: "exact-direct-match"}
		if via != "" {
			match = evidence.Match{Type: "exact-indirect-match", Via: via + " 3.0.11"}
		}
		return Item{Violation: policy.Violation{Finding: &evidence.Finding{ID: "CVE-1", FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "3.0.15"}},
			Package: evidence.Package{Name: name, Version: "3.0.11", Type: "deb"}, Matched: []evidence.Match{match}}}}
	}
	all := bySource([]Item{f("libssl3", "openssl"), f("openssl", ""), f("libssl-dev", "openssl"), f("curl", "")})
	if len(all) != 2 || all[0].title() != "curl" || all[1].title() != "openssl (libssl3, +1)" || all[1].target != "3.0.15" {
		t.Errorf("%d sources: %+v", len(all), all)
	}
}
