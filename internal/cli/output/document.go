package output

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
)

// PlatformMark is replaced by the platform in the name of a file for an SBOM, as in
// "sbom-linux-amd64.json".
const PlatformMark = "{platform}"

// CheckDocument returns a usage error for a target that no run of the command can satisfy.
func (t Target) CheckDocument(command string) error {
	format, _ := formats.ByName(t.Format)
	switch {
	case format.Document == nil && strings.Contains(t.File, PlatformMark):
		return exit.Usagef("--output %s=%s: only the SBOMs are a file for each platform: leave out %s", t.Format, t.File, PlatformMark)
	case format.Document != nil && command == "verify":
		return exit.Usagef("--output %s: verify makes no SBOM: use --evidence-dir to get the signed one", t.Format)
	}
	return nil
}

// Cataloged keeps the SBOMs for the targets that ask for one. With several platforms each needs a
// file of its own: the error comes before anything is promoted.
func (o *Writer) Cataloged(result *gate.Result) error {
	var names []string
	var sboms []formats.SBOM
	for i, s := range result.SBOMs {
		platform := result.Input.Platforms[i].Platform
		names = append(names, platform)
		sboms = append(sboms, formats.SBOM{Platform: platform, SPDX: s.SPDX, CycloneDX: s.CycloneDX})
	}
	for _, t := range o.Targets {
		format, _ := formats.ByName(t.Format)
		if format.Document != nil && len(sboms) > 1 && (!strings.Contains(t.File, PlatformMark) || t.once()) {
			return exit.Usagef("--output %s: the image has %d platforms (%s), each with an SBOM: write --output %s=sbom-%s.json, or give --platform",
				t.Format, len(sboms), strings.Join(names, ", "), t.Format, PlatformMark)
		}
	}
	o.sboms = sboms
	return nil
}

// writeDocuments writes the SBOM of each platform. A file has the bytes that promote signs; on
// standard output, characters that could control a terminal are escaped. If the image was not
// cataloged, an earlier file is removed, unless the name of the file depends on the platform. A usage
// error needs no warning about the SBOM: it can come before or after the catalog.
func (o *Writer) writeDocuments(t Target, format formats.Format) error {
	switch {
	case len(o.sboms) > 0:
	case o.Report.Decision != nil:
		return fmt.Errorf("writing the %s document: the run has a decision and no SBOM", t.Format)
	case o.Report.Error != nil && o.Report.Error.Class == report.ClassUsage:
		return t.Remove()
	default:
		fmt.Fprintf(o.Streams.Err, "imagegate: warning: the %s document is not written: the run did not catalog the image\n", t.Format)
		return t.Remove()
	}
	for _, s := range o.sboms {
		to := t
		to.File = strings.ReplaceAll(t.File, PlatformMark, FileName(s.Platform))
		data := format.Document(s)
		if t.once() {
			data = append(report.EscapeJSON(data), '\n')
		}
		if err := to.Put(o.Streams.Out, data); err != nil {
			return err
		}
	}
	return nil
}

// FileName turns a platform into a part of a file name.
func FileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, s)
}
