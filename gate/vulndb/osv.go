package vulndb

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db/data"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/db/v6/build/transformers"
	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/imagegate/imagegate/policy/evidence"
)

// osvDocument is an OSV record, version 1: https://ossf.github.io/osv-schema/. It also has fields
// that are not used, so that strict parsing can detect misspelled fields.
type osvDocument struct {
	SchemaVersion    string          `json:"schema_version"`
	ID               string          `json:"id"`
	Modified         *time.Time      `json:"modified"`
	Published        *time.Time      `json:"published"`
	Withdrawn        *time.Time      `json:"withdrawn"`
	Aliases          []string        `json:"aliases"`
	Upstream         []string        `json:"upstream"`
	Related          []string        `json:"related"`
	Summary          string          `json:"summary"`
	Details          string          `json:"details"`
	Severity         []osvSeverity   `json:"severity"`
	Affected         []osvAffected   `json:"affected"`
	References       []osvReference  `json:"references"`
	Credits          json.RawMessage `json:"credits"`
	DatabaseSpecific osvSpecific     `json:"database_specific"`
}

type osvSeverity struct {
	Type   string `json:"type"`
	Score  string `json:"score"`
	Source string `json:"source"`
}

type osvAffected struct {
	Package           osvPackage      `json:"package"`
	Severity          []osvSeverity   `json:"severity"`
	Ranges            []osvRange      `json:"ranges"`
	Versions          []string        `json:"versions"`
	EcosystemSpecific json.RawMessage `json:"ecosystem_specific"`
	DatabaseSpecific  json.RawMessage `json:"database_specific"`
}

type osvPackage struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	PURL      string `json:"purl"`
}

type osvRange struct {
	Type             string          `json:"type"`
	Repo             string          `json:"repo"`
	Events           []osvEvent      `json:"events"`
	DatabaseSpecific json.RawMessage `json:"database_specific"`
}

type osvEvent struct {
	Introduced   string `json:"introduced"`
	Fixed        string `json:"fixed"`
	LastAffected string `json:"last_affected"`
	Limit        string `json:"limit"`
}

type osvReference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// osvSpecific has the fields that the publisher of a record defines. imagegate uses only the
// severity as a word, such as "high". GitHub publishes it in this field, because OSV has no field
// for a severity without a score.
type osvSpecific struct{ severity string }

func (s *osvSpecific) UnmarshalJSON(data []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	switch v := fields["severity"].(type) {
	case nil:
	case string:
		s.severity = v
	default:
		return fmt.Errorf("invalid database_specific.severity %v: expected a string", v)
	}
	return nil
}

// osvID matches valid IDs. The characters are limited because IDs are printed and used in policies.
var osvID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{1,127}$`)

// parseOSV parses an OSV document. If strict is true, unknown fields are errors. Documents of feeds
// are not parsed strictly, because they may follow a newer schema.
func parseOSV(data []byte, strict bool) (*osvDocument, error) {
	var doc osvDocument
	decode := json.Unmarshal
	if strict {
		decode = decodeStrict
	}
	if err := decode(data, &doc); err != nil {
		return nil, fmt.Errorf("parsing the record as an OSV document: %w", err)
	}
	if !osvID.MatchString(doc.ID) {
		return nil, fmt.Errorf("invalid id %q: only letters, digits, dots, colons, underscores and dashes are allowed", doc.ID)
	}
	return &doc, nil
}

// entries converts the document to rows of the database.
func (d *osvDocument) entries(state provider.State) ([]data.Entry, error) {
	severities, err := d.severities()
	if err != nil {
		return nil, err
	}
	h := v6.VulnerabilityHandle{
		Name:          d.ID,
		Status:        v6.VulnerabilityActive,
		ProviderID:    state.Provider,
		Provider:      provider.Model(state),
		PublishedDate: d.Published,
		ModifiedDate:  d.Modified,
		WithdrawnDate: d.Withdrawn,
		BlobValue: &v6.VulnerabilityBlob{
			ID:          d.ID,
			Description: strings.TrimSpace(d.description()),
			Aliases:     d.Aliases,
			Severities:  severities,
		},
	}
	for _, r := range d.References {
		h.BlobValue.References = append(h.BlobValue.References, v6.Reference{URL: r.URL, Tags: []string{strings.ToLower(r.Type)}})
	}
	if d.Withdrawn != nil {
		// A withdrawn record stays known but affects no package. Its packages are omitted, because
		// not every matcher of grype checks the status.
		h.Status = v6.VulnerabilityRejected
		return transformers.NewEntries(h), nil
	}
	if len(d.Affected) == 0 {
		return nil, errors.New("the record affects no package")
	}
	rows := []any{h}
	for i, a := range d.Affected {
		row, err := a.handle(d.cves(), state)
		if err != nil {
			return nil, fmt.Errorf("affected[%d]: %w", i, err)
		}
		rows = append(rows, *row)
	}
	return transformers.NewEntries(rows...), nil
}

func (d *osvDocument) description() string {
	if d.Summary != "" {
		return d.Summary
	}
	return d.Details
}

func (d *osvDocument) cves() []string {
	var out []string
	for _, id := range append([]string{d.ID}, d.Aliases...) {
		if strings.HasPrefix(strings.ToUpper(id), "CVE-") {
			out = append(out, id)
		}
	}
	return out
}

// severities returns the severity as a word first, then the scores, highest first. The order
// matters because grype uses the first severity.
func (d *osvDocument) severities() ([]v6.Severity, error) {
	var out []v6.Severity
	if word := d.DatabaseSpecific.severity; word != "" {
		if strings.EqualFold(word, "moderate") { // "moderate" is GitHub's name for medium.
			word = "medium"
		}
		s, err := evidence.ParseSeverity(word)
		if err != nil {
			return nil, fmt.Errorf("database_specific: %w", err)
		}
		out = append(out, v6.Severity{Scheme: v6.SeveritySchemeCHMLN, Value: s.String()})
	}
	all := slices.Clone(d.Severity)
	for _, a := range d.Affected {
		all = append(all, a.Severity...)
	}
	scores := map[string]float64{}
	for _, s := range all {
		_, score, err := s.parse()
		if err != nil {
			return nil, err
		}
		scores[s.Score] = score
	}
	slices.SortStableFunc(all, func(a, b osvSeverity) int { return cmp.Compare(scores[b.Score], scores[a.Score]) })
	for _, s := range all {
		version, _, err := s.parse()
		if err != nil {
			return nil, err
		}
		out = append(out, v6.Severity{
			Scheme: v6.SeveritySchemeCVSS,
			Value:  v6.CVSSSeverity{Vector: s.Score, Version: version},
			Source: s.Source,
		})
	}
	return out, nil
}

// parse returns the CVSS version and the base score of a vector. An invalid vector is an error,
// because it would otherwise count as a missing severity.
func (s osvSeverity) parse() (version string, score float64, err error) {
	switch {
	case s.Type == "CVSS_V2":
		version = "2.0"
		var v *gocvss20.CVSS20
		if v, err = gocvss20.ParseVector(s.Score); err == nil {
			score = v.BaseScore()
		}
	case s.Type == "CVSS_V3" && strings.HasPrefix(s.Score, "CVSS:3.0/"):
		version = "3.0"
		var v *gocvss30.CVSS30
		if v, err = gocvss30.ParseVector(s.Score); err == nil {
			score = v.BaseScore()
		}
	case s.Type == "CVSS_V3":
		version = "3.1"
		var v *gocvss31.CVSS31
		if v, err = gocvss31.ParseVector(s.Score); err == nil {
			score = v.BaseScore()
		}
	case s.Type == "CVSS_V4":
		version = "4.0"
		var v *gocvss40.CVSS40
		if v, err = gocvss40.ParseVector(s.Score); err == nil {
			score = v.Score()
		}
	default:
		return "", 0, fmt.Errorf("invalid severity type %q: expected CVSS_V2, CVSS_V3 or CVSS_V4", s.Type)
	}
	if err != nil {
		return "", 0, fmt.Errorf("severity score %q is not a %s vector: %w", s.Score, s.Type, err)
	}
	return version, score, nil
}
