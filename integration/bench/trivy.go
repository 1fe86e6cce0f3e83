package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// trivyCache returns the folder with Trivy's database and cache.
func (p *place) trivyCache() string { return filepath.Join(p.dir, "trivy") }

// trivyFirst runs Trivy with an empty cache.
func (p *place) trivyFirst(ctx context.Context) (*Sample, error) {
	if err := os.RemoveAll(filepath.Join(p.trivyCache(), "fanal")); err != nil {
		return nil, err
	}
	return p.trivy(ctx, "app:1")
}

// trivyAgain runs Trivy with an image that its cache knows.
func (p *place) trivyAgain(ctx context.Context) (*Sample, error) {
	if err := p.prepareTrivy(ctx); err != nil {
		return nil, err
	}
	return p.trivy(ctx, "app:1")
}

// trivyRebuilt runs Trivy with a rebuilt image. Its cache knows the other layers.
func (p *place) trivyRebuilt(ctx context.Context) (*Sample, error) {
	if err := p.prepareTrivy(ctx); err != nil {
		return nil, err
	}
	return p.withRebuilt(ctx, p.trivy)
}

// prepareTrivy scans the image, unless Trivy's cache knows it.
func (p *place) prepareTrivy(ctx context.Context) error {
	_, err := os.Stat(filepath.Join(p.trivyCache(), "fanal"))
	if errors.Is(err, os.ErrNotExist) {
		_, err = p.trivy(ctx, "app:1")
	}
	return err
}

// trivy runs "trivy image" without network access. Trivy skips Java archives, because it identifies
// them with another database, which it downloads.
func (p *place) trivy(ctx context.Context, image string) (*Sample, error) {
	p.staging.ResetRequests()
	report := filepath.Join(p.dir, "trivy.json")
	r, err := p.start(ctx, process{name: p.program("trivy"), args: []string{"image", p.staging.Ref("team/" + image),
		"--image-src", "remote", "--cache-dir", p.trivyCache(), "--scanners", "vuln", "--offline-scan", "--timeout", "30m",
		"--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--disable-telemetry", "--quiet",
		"--skip-files", "**/*.jar", "--skip-files", "**/*.war", "--format", "json", "--output", report}})
	if err != nil {
		return nil, err
	}
	s := &Sample{Stages: []Stage{{Name: "scan", Seconds: r.wall.Seconds(), CPUSeconds: r.cpu.Seconds(), Peak: r.peak}}}
	s.add(r)
	p.count(s)
	if s.Findings, err = trivyFindings(report); err == nil && s.Findings == 0 {
		err = errors.New("trivy reports no finding, so it does not do the same work")
	}
	return s, err
}

// trivyFindings counts the findings in Trivy's report.
func trivyFindings(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var report struct {
		Results []struct{ Vulnerabilities []json.RawMessage }
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return 0, fmt.Errorf("reading trivy's report: %w", err)
	}
	n := 0
	for _, r := range report.Results {
		n += len(r.Vulnerabilities)
	}
	return n, nil
}
