package remedy

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestNamesThatAPackageManagerMisreads checks that no command contains a name that the package
// manager would take for a URL, or for a package to remove.
func TestNamesThatAPackageManagerMisreads(t *testing.T) {
	for _, p := range []evidence.Package{
		{Type: "rpm", Name: "https://evil.example/x.rpm"}, {Type: "deb", Name: "libfoo-"}, {Type: "deb", Name: "./x.deb"}, {Type: "apk", Name: "a:b"},
		{Type: "npm", Name: "https://evil.example/x.tgz"}, {Type: "npm", Name: "x@npm:y"}, {Type: "python", Name: "git+https://evil.example/x"},
	} {
		if do := Upgrade(p, "2"); do.Paste || strings.Contains(do.Text, "install") {
			t.Errorf("%s %s: %q", p.Type, p.Name, do.Text)
		}
		if command := Removal(p); command != "" {
			t.Errorf("%s %s: %q", p.Type, p.Name, command)
		}
	}
	for _, p := range []evidence.Package{{Type: "deb", Name: "g++"}, {Type: "deb", Name: "libstdc++6"}, {Type: "npm", Name: "@scope/name"}, {Type: "rpm", Name: "openssl-libs"}} {
		if do := Upgrade(p, "2"); !do.Paste {
			t.Errorf("%s %s: %q", p.Type, p.Name, do.Text)
		}
	}
}
