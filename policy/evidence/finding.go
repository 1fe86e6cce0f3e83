package evidence

import (
	"strings"
	"time"
)

// Finding is one vulnerability matched to one package of one platform.
type Finding struct {
	// ID is the identifier of the vulnerability in the database entry that matched. Aliases are its
	// other identifiers (CVE, GHSA, vendor ids).
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Package is the affected package, without its licenses.
	Package     Package   `json:"package"`
	Severity    Severity  `json:"severity"`
	CVSS        []CVSS    `json:"cvss,omitempty"`
	EPSS        *EPSS     `json:"epss,omitempty"`
	KEV         *KEV      `json:"kev,omitempty"`
	FixState    FixState  `json:"fixState"`
	Fixes       []Fix     `json:"fixes,omitempty"`
	Published   time.Time `json:"published,omitzero"` // zero if unknown
	URL         string    `json:"url,omitempty"`      // the page of the advisory
	Description string    `json:"description,omitempty"`
	Namespace   string    `json:"namespace,omitempty"` // the source in the database, such as "debian:distro:debian:12"
	Matched     []Match   `json:"matched"`
}

// IDs returns the id and the aliases in lower case, for comparison.
func (f *Finding) IDs() []string { return lowerIDs(f.ID, f.Aliases) }

func lowerIDs(id string, aliases []string) []string {
	ids := make([]string, 0, 1+len(aliases))
	ids = append(ids, strings.ToLower(id))
	for _, alias := range aliases {
		ids = append(ids, strings.ToLower(alias))
	}
	return ids
}

// CVSS is one score of a finding. A finding without scores never counts as low: it reaches every
// minimum score.
type CVSS struct {
	Version string  `json:"version"`
	Vector  string  `json:"vector"`
	Score   float64 `json:"score"` // base score, 0 to 10
	Source  string  `json:"source,omitempty"`
}

// EPSS is the predicted probability of exploitation within 30 days.
type EPSS struct {
	Score      float64   `json:"score"`      // 0 to 1
	Percentile float64   `json:"percentile"` // 0 to 1
	Date       time.Time `json:"date,omitzero"`
}

// KEV is an entry in CISA's catalog of known exploited vulnerabilities.
type KEV struct {
	Added      time.Time `json:"added,omitzero"`
	Due        time.Time `json:"due,omitzero"`
	Ransomware bool      `json:"ransomware,omitempty"`
}

// Fix is a version that fixes the finding.
type Fix struct {
	Version string `json:"version"`
	// Available is the first day that the version was available. It is zero if unknown.
	Available time.Time `json:"available,omitzero"`
}

// Match describes how a finding was matched.
type Match struct {
	Type       string `json:"type"`       // "exact-direct-match", "exact-indirect-match", "cpe-match"
	Matcher    string `json:"matcher"`    // "dpkg-matcher", "javascript-matcher"
	Constraint string `json:"constraint"` // the affected range as the database states it
	// Via is the source package or CPE that was looked up instead of the package itself. It is
	// empty if the package was looked up.
	Via string `json:"via,omitempty"`
}

// Suppressed is a match that the matcher dropped by its own data corrections.
type Suppressed struct {
	Finding Finding `json:"finding"`
	Reason  string  `json:"reason"`
}
