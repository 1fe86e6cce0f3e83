package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/promote"
)

var evidenceFlag = &cli.StringFlag{Name: "evidence-dir", EnvVars: []string{"IMAGEGATE_EVIDENCE_DIR"},
	Usage: "write each signed statement of the image to a file in `DIR`, as a DSSE envelope"}

// evidenceNames maps predicate types to the base names of evidence files.
var evidenceNames = map[string]string{
	promote.SPDXType: "spdx", promote.CycloneDXType: "cyclonedx", promote.ScanType: "scan", promote.VulnsType: "vulns", promote.ReferenceType: "reference", promote.DecisionType: "decision",
}

// checkEvidenceDir checks that other users cannot add files to the folder.
// --insecure-shared-parents disables the check.
func checkEvidenceDir(c *cli.Context, dir string) error {
	if c.Bool(sharedFlag.Name) {
		return nil
	}
	return disk.TrustedShared(dir)
}

// writeEvidence writes the statements of a record into dir, each atomically. It replaces files of
// an earlier run and keeps all other files.
func writeEvidence(c *cli.Context, dir string, r *promote.Record, documents []promote.Document) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the evidence: %w", err)
	}
	if err := checkEvidenceDir(c, dir); err != nil {
		return fmt.Errorf("writing the evidence: %w", err)
	}
	platforms := map[string]string{}
	for _, p := range r.Decision.Basis.Platforms {
		platforms[p.Digest] = p.Platform
	}
	for _, d := range documents {
		if err := disk.WriteBytes(filepath.Join(dir, evidenceName(d, platforms)), 0o644, d.DSSE); err != nil {
			return fmt.Errorf("writing the evidence: %w", err)
		}
	}
	return nil
}

// evidenceName returns the file name of a statement: "decision.dsse.json" or, for a statement about
// a platform, a name such as "spdx-linux-amd64.dsse.json". A statement of an unknown type is named
// by its digest.
func evidenceName(d promote.Document, platforms map[string]string) string {
	kind, known := evidenceNames[d.PredicateType]
	switch {
	case !known && strings.HasSuffix(d.PredicateType, "/override/v1"):
		kind = "override"
	case !known:
		kind = strings.ReplaceAll(d.Digest, ":", "-")
	case d.PredicateType != promote.DecisionType:
		kind += "-" + output.FileName(platforms[d.Subject])
	}
	return kind + ".dsse.json"
}
