package vulndb

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
	"github.com/google/go-cmp/cmp"
)

func TestEventsBecomeWindows(t *testing.T) {
	for name, tt := range map[string]struct {
		affected string
		want     []string // for each range, the constraint and then the fixed version or the fix state
	}{
		"from the beginning":  {`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]}]`, []string{"< 1.2.0 fixed 1.2.0"}},
		"never fixed":         {`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"}]}]`, []string{">= 1.0.0 not-fixed "}},
		"everything":          {`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]`, []string{" not-fixed "}},
		"last affected":       {`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"last_affected":"1.2.0"}]}]`, []string{">= 1.0.0, <= 1.2.0"}},
		"two windows":         {`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.2.0"},{"introduced":"2.0.0"},{"fixed":"2.1.0"}]}]`, []string{">= 1.0.0, < 1.2.0 fixed 1.2.0", ">= 2.0.0, < 2.1.0 fixed 2.1.0"}},
		"in any order":        {`"ranges":[{"type":"SEMVER","events":[{"fixed":"2.1.0"},{"introduced":"10.0.0"},{"fixed":"1.2.0"},{"introduced":"2.0.0"},{"introduced":"0"}]}]`, []string{"< 1.2.0 fixed 1.2.0", ">= 2.0.0, < 2.1.0 fixed 2.1.0", ">= 10.0.0 not-fixed "}},
		"introduced again":    {`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"introduced":"1.1.0"},{"fixed":"1.2.0"}]}]`, []string{">= 1.0.0, < 1.2.0 fixed 1.2.0"}},
		"fixed and back":      {`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.2.0"},{"introduced":"1.2.0"}]}]`, []string{">= 1.0.0, < 1.2.0 fixed 1.2.0", ">= 1.2.0 not-fixed "}},
		"only listed":         {`"versions":["1.0.0","1.0.1"]`, []string{"= 1.0.0", "= 1.0.1"}},
		"listed and in range": {`"versions":["1.0.0","3.0.0"],"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.2.0"}]}]`, []string{">= 1.0.0, < 1.2.0 fixed 1.2.0", "= 3.0.0"}},
		"commits besides":     {`"ranges":[{"type":"GIT","repo":"https://x","events":[{"introduced":"abc"}]},{"type":"SEMVER","events":[{"introduced":"1.0.0"}]}]`, []string{">= 1.0.0 not-fixed "}},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := parseOSV([]byte(`{"id":"ACME-1","affected":[{"package":{"ecosystem":"npm","name":"x"},`+tt.affected+`}]}`), true)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := doc.entries(provider.State{Provider: "acme"})
			if err != nil {
				t.Fatal(err)
			}
			if err := checkEntry(entries[0], true); err != nil {
				t.Error(err)
			}
			h := entries[0].Data.(transformers.RelatedEntries).Related[0].(v6.AffectedPackageHandle)
			var got []string
			for _, r := range h.BlobValue.Ranges {
				text := r.Version.Constraint
				if r.Fix != nil {
					text += " " + string(r.Fix.State) + " " + r.Fix.Version
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHighestSeverityComesFirst(t *testing.T) {
	doc, err := parseOSV([]byte(`{"id":"ACME-1",
		"database_specific":{"severity":"MODERATE","note":1},
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}],
		"affected":[{"package":{"ecosystem":"npm","name":"x"},"versions":["1.0.0"],
			"severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
				{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:P/I:P/A:P"},
				{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H"}]}]}`), true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := doc.severities()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, s := range got {
		if c, ok := s.Value.(v6.CVSSSeverity); ok {
			order = append(order, c.Version)
		} else {
			order = append(order, s.Value.(string))
		}
	}
	if want := []string{"medium", "4.0", "3.0", "2.0", "3.1"}; !slices.Equal(order, want) {
		t.Errorf("order is %q, not %q", order, want)
	}
}

func TestWithdrawnAdvisoryMatchesNothing(t *testing.T) {
	text := strings.Replace(advisory, `"aliases"`, `"withdrawn":"2026-06-10T00:00:00Z","aliases"`, 1)
	db := opened(t, advisories(t, map[string]string{"1.json": text}))
	if found := matches(t, db, packageOf("npm", "@acme/parser", "1.4.1", "")); len(found) != 0 {
		t.Errorf("found %v", ids(found))
	}
}

func FuzzOSV(f *testing.F) {
	f.Add([]byte(advisory))
	f.Add([]byte(`{"id":"A-1","affected":[{"package":{"ecosystem":"Debian:12","name":"x"},"versions":["1:2~3"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseOSV(data, true)
		if err != nil {
			return
		}
		entries, err := doc.entries(provider.State{Provider: "acme"})
		if err != nil {
			return
		}
		if len(entries) == 0 {
			t.Error("an accepted document adds nothing")
		}
		for _, e := range entries {
			row := e.Data.(transformers.RelatedEntries)
			if doc.Withdrawn == nil && len(row.Related) != len(doc.Affected) {
				t.Errorf("%d affected packages became %d rows", len(doc.Affected), len(row.Related))
			}
			if err := checkEntry(e, true); err != nil {
				t.Errorf("an accepted document cannot be matched: %v", err)
			}
			if _, err := json.Marshal(row.VulnerabilityHandle.BlobValue); err != nil {
				t.Error(err)
			}
		}
	})
}
