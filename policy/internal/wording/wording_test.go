package wording

import (
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestWords(t *testing.T) {
	const day = 24 * time.Hour
	long := strings.Repeat("é", 81)
	for want, got := range map[string]string{
		"2026-06-15T10:00:00Z":              Time(time.Date(2026, 6, 15, 12, 0, 0, 0, time.FixedZone("", 2*60*60))),
		"7d":                                Duration(7 * day),
		"36h0m0s":                           Duration(36 * time.Hour),
		"0s":                                Duration(0),
		"0.123457":                          Number(0.1234567),
		"9.8":                               Number(9.8),
		"openssl 3.0":                       Joined("openssl", "3.0"),
		"openssl":                           Package(&evidence.Package{Name: "openssl"}),
		"3.0":                               Joined("", "3.0"),
		"a package without a name":          Package(&evidence.Package{Type: "deb"}),
		`"a\x1b[31m"`:                       Quote("a\x1b[31m"),
		`"` + long[:2*80] + `…"`:            Quote(long),
		`"` + strings.Repeat("é", 80) + `"`: Quote(long[:2*80]),
		"éé…":                               Clip("ééé", 2),
		"ééé":                               Clip("ééé", 3),
		"":                                  Clip("", 0),
		"EPSS unknown":                      EPSS(nil),
		"EPSS 0.5 (percentile 0.9)":         EPSS(&evidence.EPSS{Score: 0.5, Percentile: 0.9}),
		"fixed in 2, 3":                     Fix(&evidence.Finding{Fixes: []evidence.Fix{{Version: "2"}, {Version: "3"}}}),
		"its vendor will not fix it":        Fix(&evidence.Finding{FixState: evidence.FixWont}),
		"no known fix":                      Fix(&evidence.Finding{}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
