package gate

import (
	"slices"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestHugeTextIsNotReadWholeAndBlocks checks that a huge text file becomes an unknown and blocks
// the image, even if the cataloger ignores the read error. A parser would read the whole file into
// memory.
func TestHugeTextIsNotReadWholeAndBlocks(t *testing.T) {
	const huge = 32<<20 + 1 // one byte more than maxParsed in package catalog
	paths := []string{"srv/a-1-1.rockspec", "usr/lib/node_modules/x/package.json", "usr/share/php/.registry/x.reg", "srv/vendor/composer/installed.json",
		"srv/x.deps.json", "lib/apk/db/installed", "var/lib/dpkg/status.d/x"}
	h := newTester(t)
	var files []lab.File
	for _, p := range paths {
		files = append(files, lab.File{Path: p, Zeros: huge})
	}
	src := h.push("team/app:1", h.image(lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}}, Files: files}))
	r := h.check(h.gate(blockCritical), src)
	if r.Decision.Passed {
		t.Error("the image passed")
	}
	for _, p := range paths {
		if !slices.ContainsFunc(r.Input.Platforms[0].Unknowns, func(u evidence.Unknown) bool { return u.Path == "/"+p }) {
			t.Errorf("%s is not unknown", p)
		}
	}
}
