package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Results are all measurements of the benchmark, in the form of its JSON file.
type Results struct {
	Rounds   int               `json:"rounds"`
	Machine  Machine           `json:"machine"`
	Programs map[string]string `json:"programs"` // versions, by program name
	Images   []ImageResult     `json:"images"`
}

// ImageResult has the measurements of one image.
type ImageResult struct {
	Name         string `json:"name"`
	Generated    bool   `json:"generated"` // true if the image was made without mmdebstrap
	Layers       int    `json:"layers"`
	Compressed   int64  `json:"compressedBytes"`
	Uncompressed int64  `json:"uncompressedBytes"`
	Packages     int    `json:"packages"`
	Findings     int    `json:"findings"`
	// TrivyFindings is the number of findings that Trivy reports, or 0 if Trivy did not run.
	TrivyFindings int      `json:"trivyFindings,omitempty"`
	Series        []Series `json:"series"`
	Figures       []Figure `json:"figures"`
}

// Series has the samples of one subject, or the reason why it has none.
type Series struct {
	Name    string   `json:"name"`
	Missing string   `json:"missing,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is the measurement of one run.
type Sample struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpuSeconds"`
	// Peak is the peak memory of the largest process, in bytes.
	Peak int64 `json:"peakBytes"`
	// Read is the number of blob bytes read from the staging registry. Written is the number of all
	// bytes written to the approved registry. WrittenImage counts only the image's own blobs.
	Read         int64 `json:"readBytes"`
	Written      int64 `json:"writtenBytes"`
	WrittenImage int64 `json:"writtenImageBytes"`
	// NewLayer is the compressed size of the layer that a rebuilt image does not share with the
	// known image.
	NewLayer int64   `json:"newLayerBytes,omitempty"`
	Packages int     `json:"packages,omitempty"`
	Findings int     `json:"findings,omitempty"`
	Stages   []Stage `json:"stages,omitempty"`
}

// Stage is a part of a run.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// CPUSeconds is set only for a stage that is a separate process.
	CPUSeconds float64 `json:"cpuSeconds,omitempty"`
	Peak       int64   `json:"peakBytes,omitempty"`
}

// add adds the resource usage of one process of the run.
func (s *Sample) add(r *ran) {
	s.Seconds += r.wall.Seconds()
	s.CPUSeconds += r.cpu.Seconds()
	s.Peak = max(s.Peak, r.peak)
}

// measureImage measures these subjects on one image, in turn, so that other load on the machine
// affects all of them equally.
func (o options) measureImage(ctx context.Context, r recipe, all []subject) (_ *ImageResult, err error) {
	b, err := buildImage(ctx, o.work, r)
	if err != nil {
		return nil, err
	}
	p, err := openPlace(ctx, o.bin, o.work, b, r.findings)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	series := make([]Series, len(all))
	for p.round = range o.rounds {
		for i, s := range all {
			series[i].Name, series[i].Missing = s.name, s.missing
			if s.missing != "" || s.once && p.round > 0 {
				continue
			}
			sample, err := p.measure(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("running %s: %w", s.name, err)
			}
			series[i].Samples = append(series[i].Samples, *sample)
			fmt.Fprintf(os.Stderr, "bench: %s image, %d of %d: %s: %.2f s\n", r.name, p.round+1, o.rounds, s.name, sample.Seconds)
		}
	}
	return p.result(r.name, series)
}

// result returns the result of an image from its series, with the figures of the measured subjects.
func (p *place) result(name string, series []Series) (*ImageResult, error) {
	manifest, err := p.image.image.Manifest()
	if err != nil {
		return nil, err
	}
	out := &ImageResult{Name: name, Generated: p.image.Generated, Layers: len(manifest.Layers), Compressed: p.size,
		Uncompressed: p.image.Uncompressed, Series: series}
	for _, subject := range []string{first, firstPlain, denied, firstCheck, checkAgain} {
		if samples := out.series(subject).Samples; len(samples) > 0 {
			out.Packages, out.Findings = samples[0].Packages, samples[0].Findings
			break
		}
	}
	for _, subject := range []string{trivyFirst, trivyAgain} {
		if samples := out.series(subject).Samples; len(samples) > 0 {
			out.TrivyFindings = samples[0].Findings
			break
		}
	}
	out.Figures = slices.DeleteFunc(figures(out), func(f Figure) bool { return strings.Contains(f.Missing, notSelected) })
	return out, nil
}

// measure prepares the state that the subject needs, which is not measured, and runs the subject
// once.
func (p *place) measure(ctx context.Context, s subject) (*Sample, error) {
	if s.needs == anyState {
		return s.run(p, ctx)
	}
	if err := p.prepare(ctx, s.needs); err != nil {
		return nil, fmt.Errorf("preparing: %w", err)
	}
	p.state = s.leaves
	return s.run(p, ctx)
}

// readReport reads the number of packages and findings from imagegate's report.
func (p *place) readReport(s *Sample) error {
	data, err := os.ReadFile(filepath.Join(p.dir, "report.json"))
	if err != nil {
		return err
	}
	var report struct {
		Input struct {
			Platforms []struct {
				Packages, Findings []json.RawMessage
			} `json:"platforms"`
		} `json:"input"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return fmt.Errorf("reading imagegate's report: %w", err)
	}
	for _, platform := range report.Input.Platforms {
		s.Packages += len(platform.Packages)
		s.Findings += len(platform.Findings)
	}
	return nil
}

// notSelected is the Missing of a series that was not selected for the run.
const notSelected = "not selected"

// series returns the series of the subject with this name.
func (r *ImageResult) series(name string) Series {
	for _, s := range r.Series {
		if s.Name == name {
			return s
		}
	}
	return Series{Name: name, Missing: notSelected}
}

// median returns the median of a value of all samples. of returns the value of one sample.
func (s Series) median(of func(Sample) float64) float64 {
	var values []float64
	for _, sample := range s.Samples {
		values = append(values, of(sample))
	}
	return median(values)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// stageMedians returns the median of each stage, in the order of the run. Stages of the same name
// in a sample are added up.
func (s Series) stageMedians() []Stage {
	var names []string
	values, peaks := map[string][]float64{}, map[string]int64{}
	for _, sample := range s.Samples {
		sums := map[string]float64{}
		for _, stage := range sample.Stages {
			if !slices.Contains(names, stage.Name) {
				names = append(names, stage.Name)
			}
			sums[stage.Name] += stage.Seconds
			peaks[stage.Name] = max(peaks[stage.Name], stage.Peak)
		}
		for name := range maps.Keys(sums) {
			values[name] = append(values[name], sums[name])
		}
	}
	var out []Stage
	for _, name := range names {
		out = append(out, Stage{Name: name, Seconds: median(values[name]), Peak: peaks[name]})
	}
	return out
}
