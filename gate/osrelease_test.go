package gate

import (
	"slices"
	"testing"

	"github.com/imagegate/imagegate/internal/lab"
)

func TestQuotesInOSReleaseHideNoFinding(t *testing.T) {
	h := newTester(t)
	want := findingIDs(h.check(h.gate(blockCritical), h.push("app:1", h.image(dirty))).Input.Platforms[0])
	bare := dirty
	bare.OSRelease = ""
	for name, files := range map[string][]lab.File{
		"in /etc":               {{Path: "etc/os-release", Content: "NAME='Debian'\nVERSION_ID='12'\nID='debian'\n"}},
		"in /usr/lib":           {{Path: "usr/lib/os-release", Content: "VERSION_ID='12'\r\nID='debian'\r\n"}},
		"by a link elsewhere":   {{Path: "usr/share/release", Content: "VERSION_ID='12'\nID='debian'\n"}, {Path: "etc/os-release", Link: "../usr/share/release"}},
		"unreadable in /etc":    {{Path: "etc/os-release", Content: "ID='debian\n"}, {Path: "usr/lib/os-release", Content: "VERSION_ID='12'\nID='debian'\n"}},
		"double quotes in /etc": {{Path: "etc/os-release", Content: "VERSION_ID=\"12\"\nID=\"debian\"\n"}},
	} {
		bare.Files = files
		r := h.check(h.gate(blockCritical), h.push("app:2", h.image(bare)))
		p := r.Input.Platforms[0]
		if !slices.Equal(findingIDs(p), want) || p.Distribution.ID != "debian" || p.Distribution.Version != "12" {
			t.Errorf("%s: %v, %+v", name, findingIDs(p), p.Distribution)
		}
	}
}
