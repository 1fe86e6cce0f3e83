package cli

import (
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
)

// platformMark is replaced by the platform in the name of a file for an SBOM, as in
// "sbom-linux-amd64.json".
const platformMark = "{platform}"

// checkDocument returns a usage error for a target that no run of the command can satisfy.
func (t target) checkDocument(command string) error {
	format, _ := formats.ByName(t.format)
	switch {
	case format.Document == nil && strings.Contains(t.file, platformMark):
		return exit.Usagef("--output %s=%s: only the SBOMs are a file for each platform: leave out %s", t.format, t.file, platformMark)
	case format.Document != nil && command == "verify":
		return exit.Usagef("--output %s: verify makes no SBOM: use --evidence-dir to get the signed one", t.format)
	}
	return nil
}

// cataloged keeps the SBOMs for the targets that ask for one. With several platforms each needs a
// file of its own: the error comes before anything is promoted.
func (o *output) cataloged(result *gate.Result) error {
	var names []string
	var sboms []formats.SBOM
	for i, s := range result.SBOMs {
		platform := result.Input.Platforms[i].Platform
		names = append(names, platform)
		sboms = append(sboms, formats.SBOM{Platform: platform, SPDX: s.SPDX, CycloneDX: s.CycloneDX})
	}
	for _, t := range o.targets {
		format, _ := formats.ByName(t.format)
		if format.Document != nil && len(sboms) > 1 && (!strings.Contains(t.file, platformMark) || t.once()) {
			return exit.Usagef("--output %s: the image has %d platforms (%s), each with an SBOM: write --output %s=sbom-%s.json, or give --platform",
				t.format, len(sboms), strings.Join(names, ", "), t.format, platformMark)
		}
	}
	o.sboms = sboms
	return nil
}

// writeDocuments writes the SBOM of each platform. A file has the bytes that promote signs; on
// standard output, characters that could control a terminal are escaped. If the image was not
// cataloged, an earlier file is removed, unless the name of the file depends on the platform. A usage
// error says enough by itself: it can come before or after the catalog.
func (o *output) writeDocuments(t target, format formats.Format) error {
	switch {
	case len(o.sboms) > 0:
	case o.report.Decision != nil:
		return fmt.Errorf("writing the %s document: the run has a decision and no SBOM", t.format)
	case o.report.Error != nil && o.report.Error.Class == report.ClassUsage:
		return t.remove()
	default:
		fmt.Fprintf(o.streams.Err, "imagegate: warning: the %s document is not written: the run did not catalog the image\n", t.format)
		return t.remove()
	}
	for _, s := range o.sboms {
		to := t
		to.file = strings.ReplaceAll(t.file, platformMark, fileName(s.Platform))
		data := format.Document(s)
		if t.once() {
			data = append(report.EscapeJSON(data), '\n')
		}
		if err := to.put(o.streams, data); err != nil {
			return err
		}
	}
	return nil
}
