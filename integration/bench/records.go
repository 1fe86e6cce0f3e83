package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unrelated is the number of records in the database for packages that are not in any image.
const unrelated = 20_000

// record is an advisory as an OSV document.
type record struct {
	SchemaVersion string         `json:"schema_version"`
	ID            string         `json:"id"`
	Modified      string         `json:"modified"`
	Published     string         `json:"published"`
	Summary       string         `json:"summary"`
	Severity      []severity     `json:"severity"`
	Affected      []affected     `json:"affected"`
	Specific      map[string]any `json:"database_specific"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package packageName `json:"package"`
	Ranges  []ranges    `json:"ranges"`
}

type packageName struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
}

type ranges struct {
	Type   string              `json:"type"`
	Events []map[string]string `json:"events"`
}

// levels are the severities of the advisories, used in turn. None is critical, so that a policy
// against critical findings passes the image, and a policy against high findings denies it.
var levels = []struct{ word, vector string }{
	{"low", "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:N/A:N"},
	{"medium", "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:L/I:L/A:N"},
	{"high", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},
}

// records returns generated advisories for an image. Each source package and generated module has
// about the same number of advisories. Together they lead to about as many findings as requested.
func records(sources map[string]int, modules []string, findings int) []record {
	packages := len(modules)
	for _, n := range sources {
		packages += n
	}
	var out []record
	add := func(ecosystem, name, fixed string) {
		out = append(out, newRecord(len(out), ecosystem, name, fixed))
	}
	made := 0
	for round := 0; made < findings && packages > 0; round++ {
		for _, name := range slices.Sorted(maps.Keys(sources)) {
			if made < findings {
				add("Debian:12", name, "9999:0")
				made += sources[name]
			}
		}
		for _, name := range modules {
			if made < findings {
				add("npm", name, "9999.0.0")
				made++
			}
		}
	}
	return unrelatedRecords(out, unrelated)
}

// unrelatedRecords appends n advisories for packages that are not in any image.
func unrelatedRecords(out []record, n int) []record {
	for i := range n {
		out = append(out, newRecord(len(out), "Debian:12", fmt.Sprintf("in-no-image-%d", i/4), "9999:0"))
	}
	return out
}

// newRecord returns the n-th advisory. Every third advisory has no fixed version.
func newRecord(n int, ecosystem, name, fixed string) record {
	level := levels[n%len(levels)]
	events := []map[string]string{{"introduced": "0"}}
	if n/len(levels)%3 != 0 {
		events = append(events, map[string]string{"fixed": fixed})
	}
	return record{
		SchemaVersion: "1.6.0", ID: fmt.Sprintf("BENCH-2024-%05d", n), Modified: "2024-01-02T00:00:00Z", Published: "2024-01-01T00:00:00Z",
		Summary:  name + " has a flaw that nobody has found. " + strings.Repeat("It is as long as a description is. ", 12),
		Severity: []severity{{"CVSS_V3", level.vector}},
		Affected: []affected{{packageName{ecosystem, name}, []ranges{{"ECOSYSTEM", events}}}},
		Specific: map[string]any{"severity": level.word},
	}
}

// recordsPerFolder is the maximum number of files in a folder of records. A single folder with
// 600,000 files takes minutes to remove.
const recordsPerFolder = 1000

// writeRecords writes the records into subfolders of dir, as the folder of a provider.
func writeRecords(dir string, all []record) error {
	for i, r := range all {
		folder := filepath.Join(dir, "bench", fmt.Sprintf("%03d", i/recordsPerFolder))
		if i%recordsPerFolder == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, r.ID+".json"), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
