package output

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
)

// PlatformMark is the placeholder in the file name of an SBOM that is replaced by the platform, as
// in "sbom-linux-amd64.json".
const PlatformMark = "{platform}"

// CheckDocument returns a usage error for a target that the command can never write: an SBOM from
// verify, or PlatformMark in the file name of a report.
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

// Cataloged keeps the SBOMs for the targets that write SBOMs. It returns a usage error if a target
// would write the SBOMs of several platforms to one file. The error comes before anything is
// promoted.
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

// writeDocuments writes the SBOM of each platform. A file gets exactly the bytes that promote
// signs. On standard output, characters that could control a terminal are escaped. If the image was
// not cataloged, an earlier file is removed, unless its name depends on the platform. After a usage
// error, a missing SBOM is not reported, because the error may come before or after the catalog.
func (o *Writer) writeDocuments(t Target, format formats.Format) error {
	switch {
	case len(o.sboms) > 0:
	case o.Report.Decision != nil:
		return fmt.Errorf("writing the %s document: the run has a decision and no SBOM", t.Format)
	case o.Report.Error != nil && o.Report.Error.Class == report.ClassUsage:
		return t.Remove()
	default:
		o.warn(fmt.Sprintf("the %s document is not written: the run did not catalog the image", t.Format))
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

// FileName replaces the characters of a platform that a file name should not have, such as "/".
func FileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '-'
	}, s)
}
