package match

import (
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestPackageWithoutPURLMatchesByItsType(t *testing.T) {
	lodash := evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm"}
	withPURL := evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:generic/other@1"}
	for pattern, want := range map[string]bool{"pkg:npm/lodash": true, "pkg:npm/lodash@4.*": true, "pkg:npm/lodash@5.*": false, "pkg:deb/lodash": false} {
		p := NewPURLPattern(pattern)
		if got := p.Match(PackagePURL(&lodash)); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
		if p.Match(PackagePURL(&withPURL)) {
			t.Errorf("%s: the name is compared although there is a purl", pattern)
		}
	}
	if NewPURLPattern("pkg:npm/lodash@4.*").Match(PackagePURL(&evidence.Package{Name: "lodash", Type: "npm"})) {
		t.Error("a package without a version matches a pattern with one")
	}
}
