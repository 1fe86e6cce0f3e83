package gate

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

// babelAdvisory is Debian's advisory for CVE-2023-45133. GitHub lists it as GHSA-67hx-6x53-jw92 for
// the npm package @babel/traverse before 7.23.2. Debian 12 kept the old version and patched it.
const babelAdvisory = `{
  "identifier": "debian:12/cve-2023-45133",
  "item": {"Vulnerability": {
    "CVSS": [], "Description": "",
    "FixedIn": [{"Name": "node-babel7", "NamespaceName": "debian:12", "Version": "7.20.15+ds1+~cs214.269.168-3+deb12u1", "VersionFormat": "dpkg",
      "VendorAdvisory": {"AdvisorySummary": [], "NoAdvisory": false}}],
    "Link": "https://security-tracker.debian.org/tracker/CVE-2023-45133", "Metadata": {},
    "Name": "CVE-2023-45133", "NamespaceName": "debian:12", "Severity": "High"}},
  "schema": "https://raw.githubusercontent.com/anchore/vunnel/main/schema/vulnerability/os/schema-1.1.0.json"
}`

// TestVulnerabilityThatTheDistributionFixedDoesNotDeny checks that an image is not denied for a
// vulnerability that the distribution fixed in the package that owns the vulnerable file: grype
// drops this finding. Any other finding about the file denies the image.
func TestVulnerabilityThatTheDistributionFixedDoesNotDeny(t *testing.T) {
	db := databaseOf(t, func(records string) error {
		return os.WriteFile(filepath.Join(records, "debian", "results", "debian-12", "babel.json"), []byte(babelAdvisory), 0o600)
	})
	const fixed, vulnerable = "7.20.15+ds1+~cs214.269.168-3+deb12u2", "7.20.15+ds1+~cs214.269.168-3"
	module := lab.File{Path: "usr/share/nodejs/@babel/traverse/package.json", Content: `{"name":"@babel/traverse","version":"7.20.13"}`}
	bundled := lab.File{Path: "usr/share/nodejs/http-cache-semantics/package.json", Content: `{"name":"http-cache-semantics","version":"4.1.0"}`}
	node := func(version string, files ...lab.File) lab.Deb {
		return lab.Deb{Name: "node-babel7", Version: version, Arch: "all", Files: files}
	}
	for name, c := range map[string]struct {
		deb    lab.Deb
		layers [][]lab.File
		denied []string
	}{
		"fixed":                              {node(fixed, module), nil, nil},
		"not fixed in the installed version": {node(vulnerable, module), nil, []string{"CVE-2023-45133", "GHSA-67hx-6x53-jw92"}},
		"not known to the distribution":      {node(fixed, module, bundled), nil, []string{"GHSA-rc47-6667-2j5j"}},
		"not installed by the distribution":  {node(fixed), [][]lab.File{{module}}, []string{"GHSA-67hx-6x53-jw92"}},
		"installed by another package": {lab.Deb{Name: "node-other", Version: fixed, Arch: "all", Files: []lab.File{module}}, nil,
			[]string{"GHSA-67hx-6x53-jw92"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTester(t)
			spec := clean
			spec.DebPackages = append(slices.Clone(clean.DebPackages), c.deb)
			spec.Layers = c.layers
			r := h.check(h.gate(blockCritical, func(o *Options) { o.Database = db }), h.push("app:1", h.image(spec)))
			var denied []string
			for _, v := range r.Decision.Violations {
				denied = append(denied, v.Finding.ID)
			}
			slices.Sort(denied)
			if !slices.Equal(denied, c.denied) {
				t.Errorf("denied for %v, want %v", denied, c.denied)
			}
		})
	}
}
