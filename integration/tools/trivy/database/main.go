// Command database writes Trivy's vulnerability database from OSV records. The benchmark uses it,
// so that Trivy and imagegate know the same advisories.
//
//	database RECORDS CACHE
//
// RECORDS is a folder with OSV documents for Debian 12 and npm, as the benchmark writes them. CACHE
// is the folder for Trivy's flag --cache-dir.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: database RECORDS CACHE")
		os.Exit(1)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "writing Trivy's database:", err)
		os.Exit(1)
	}
}

// These are Trivy's buckets for the ecosystems of the records. Trivy finds the bucket of npm by the
// part before the colons.
var buckets = map[string]string{"Debian:12": "debian 12", "npm": "npm::bench"}

// record has the fields of an OSV document that Trivy's database needs.
type record struct {
	ID       string
	Summary  string
	Severity []struct{ Score string }
	Affected []struct {
		Package struct{ Ecosystem, Name string }
		Ranges  []struct{ Events []struct{ Fixed string } }
	}
	Specific struct{ Severity string } `json:"database_specific"`
}

func run(records, cache string) (err error) {
	folder := filepath.Join(cache, "db")
	if err := db.Init(folder); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Config{}.Connection().Update(func(tx *bolt.Tx) error {
		for _, bucket := range buckets {
			if err := (db.Config{}).PutDataSource(tx, bucket, types.DataSource{ID: "bench", Name: "generated"}); err != nil {
				return err
			}
		}
		return filepath.WalkDir(records, func(file string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".json" {
				return err
			}
			return put(tx, file)
		})
	})
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	return metadata.NewClient(folder).Update(metadata.Metadata{Version: db.SchemaVersion, UpdatedAt: now,
		NextUpdate: now.AddDate(10, 0, 0), DownloadedAt: now})
}

// put writes the record in file to the database.
func put(tx *bolt.Tx, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	severity, err := types.NewSeverity(strings.ToUpper(r.Specific.Severity))
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	detail := types.Vulnerability{Title: r.Summary, Description: r.Summary, Severity: severity.String(),
		VendorSeverity: types.VendorSeverity{"bench": severity}}
	if len(r.Severity) > 0 {
		detail.CVSS = types.VendorCVSS{"bench": {V3Vector: r.Severity[0].Score}}
	}
	if err := (db.Config{}).PutVulnerability(tx, r.ID, detail); err != nil {
		return err
	}
	for _, a := range r.Affected {
		bucket, ok := buckets[a.Package.Ecosystem]
		if !ok {
			return fmt.Errorf("reading %s: unknown ecosystem %q", file, a.Package.Ecosystem)
		}
		for _, ranges := range a.Ranges {
			fixed := ""
			for _, e := range ranges.Events {
				fixed += e.Fixed
			}
			if err := (db.Config{}).PutAdvisory(tx, []string{bucket, a.Package.Name}, r.ID, advisory(bucket, fixed)); err != nil {
				return err
			}
		}
	}
	return nil
}

// advisory returns the advisory for all versions before fixed, or for all versions if fixed is
// empty.
func advisory(bucket, fixed string) *types.Advisory {
	switch {
	case strings.HasPrefix(bucket, "debian "):
		if fixed == "" {
			return &types.Advisory{Status: types.StatusAffected}
		}
		return &types.Advisory{FixedVersion: fixed}
	case fixed == "":
		return &types.Advisory{VulnerableVersions: []string{">=0"}}
	}
	return &types.Advisory{VulnerableVersions: []string{"<" + fixed}, PatchedVersions: []string{fixed}}
}
