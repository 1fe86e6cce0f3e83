package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// pipeline runs and measures the shell pipeline that does the same work as imagegate. The script is
// as fast as possible: it makes the SBOM once, in both formats, and uses neither a transparency log
// nor another service.
func (p *place) pipeline(ctx context.Context) (*Sample, error) {
	from := p.staging.Ref("team/app@" + p.digest.String())
	tag, to := p.approved.Ref("prod/app:1"), p.approved.Ref("prod/app@"+p.digest.String())
	sign := []string{"--key", "cosign.key", "--tlog-upload=false", "--yes"}
	s := &Sample{}
	for _, step := range []struct {
		stage string
		process
	}{
		{"syft", process{name: "syft", args: []string{"scan", "registry:" + from, "-q", "-o", "syft-json=sbom.json", "-o", "spdx-json=spdx.json"}}},
		{"grype", process{name: "grype", args: []string{"sbom:sbom.json", "-q", "-o", "json", "--fail-on", "critical"}, out: filepath.Join(p.dir, "grype.json")}},
		{"copy", process{name: "crane", args: []string{"copy", from, tag}}},
		{"sign", process{name: "cosign", args: append([]string{"sign", to}, sign...)}},
		{"attest", process{name: "cosign", args: append([]string{"attest", to, "--type", "spdxjson", "--predicate", "spdx.json"}, sign...)}},
		{"attest", process{name: "cosign", args: append([]string{"attest", to, "--type", "vuln", "--predicate", "vuln.json"}, sign...)}},
	} {
		step.name = p.program(step.name)
		r, err := p.start(ctx, step.process)
		if err != nil {
			return nil, err
		}
		s.add(r)
		s.Stages = append(s.Stages, Stage{Name: step.stage, Seconds: r.wall.Seconds(), CPUSeconds: r.cpu.Seconds(), Peak: r.peak})
		if step.stage == "grype" {
			if s.Findings, err = p.predicate(); err != nil {
				return nil, err
			}
		}
	}
	p.count(s)
	return s, nil
}

// predicate converts grype's findings into cosign's vulnerability predicate and counts them. A
// shell script would use jq. This step is not measured.
func (p *place) predicate() (int, error) {
	raw, err := os.ReadFile(filepath.Join(p.dir, "grype.json"))
	if err != nil {
		return 0, err
	}
	var document struct {
		Matches []json.RawMessage `json:"matches"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return 0, fmt.Errorf("reading grype's findings: %w", err)
	}
	predicate, err := json.Marshal(map[string]any{"scanner": map[string]any{"uri": "https://github.com/anchore/grype", "result": json.RawMessage(raw)}})
	if err != nil {
		return 0, err
	}
	return len(document.Matches), os.WriteFile(filepath.Join(p.dir, "vuln.json"), predicate, 0o644)
}
