package coverage

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestEveryReasonHasAKey lists every reason and class, so that a new one does not count as harmless
// by mistake.
func TestEveryReasonHasAKey(t *testing.T) {
	for reason, want := range map[evidence.UnmatchedReason]string{
		evidence.NoDistribution: "distribution", evidence.DistributionNotInDatabase: "distribution", evidence.NothingCataloged: "distribution",
		evidence.TypeNotInDatabase: "packageType", evidence.VersionUnknown: "version", evidence.VersionNotComparable: "version",
		evidence.MainModule: "firstParty", evidence.FirstParty: "firstParty",
		evidence.PartOfPackage: "", evidence.OwnedByDistribution: "", "new": "",
	} {
		if got := ReasonKey(reason); got != want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
	for class, want := range map[evidence.UnknownClass]string{
		evidence.UnknownPackageDatabase: "packageDatabase", evidence.UnknownArchive: "archive", evidence.UnknownTestData: "testData",
		evidence.UnknownFile: "file", "": "file", "new": "file", evidence.UnknownOwned: "",
	} {
		if got := ClassKey(class); got != want {
			t.Errorf("%q: %q, want %q", class, got, want)
		}
	}
}

func TestPackagesAndMessage(t *testing.T) {
	app := evidence.Package{Name: "app", Version: "1", Type: "npm", Found: []evidence.Location{{Path: "/srv/package.json"}}}
	owned := evidence.Package{Name: "owned", Type: "npm", Found: []evidence.Location{{Path: "/usr/a"}}}
	p := &evidence.Platform{
		Packages:  []evidence.Package{app, {Name: "libc6", Type: "deb"}, owned},
		Unmatched: []evidence.Unmatched{{Package: &owned, Reason: evidence.OwnedByDistribution}},
	}
	for _, test := range []struct {
		u              evidence.Unmatched
		names, message string
	}{
		{evidence.Unmatched{Package: &app, Reason: evidence.VersionNotComparable, Detail: "d"}, "app", "app 1 in /srv/package.json is not covered: version not comparable (d)"},
		{evidence.Unmatched{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 2}, "app", `packages of type "npm" (2 of them) are not covered: package type not in database`},
		{evidence.Unmatched{Reason: evidence.NoDistribution}, "libc6", "the operating system's packages are not covered: no distribution"},
		{evidence.Unmatched{Reason: evidence.NothingCataloged}, "libc6", "the image is not covered: nothing cataloged"},
	} {
		var names []string
		for _, pkg := range Packages(p, &test.u) {
			names = append(names, pkg.Name)
		}
		if got := strings.Join(names, " "); got != test.names {
			t.Errorf("%s: packages %q, want %q", test.u.Reason, got, test.names)
		}
		if got := Message(&test.u); got != test.message {
			t.Errorf("%q, want %q", got, test.message)
		}
	}
}
