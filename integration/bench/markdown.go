package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// markdown returns all measurements as tables.
func (r *Results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d, on %s with %d cores", r.Rounds, r.Machine.System, r.Machine.Cores)
	if r.Machine.Processor != "" {
		fmt.Fprintf(&b, " (%s)", r.Machine.Processor)
	}
	fmt.Fprintf(&b, ", %s.", r.Machine.Go)
	for i, name := range slices.Sorted(maps.Keys(r.Programs)) {
		fmt.Fprintf(&b, "%s %s %s", []string{"\n\nPrograms:", ","}[min(i, 1)], name, r.Programs[name])
	}
	b.WriteString(".\n")
	for _, image := range r.Images {
		image.markdown(&b)
	}
	return b.String()
}

func (r *ImageResult) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### The %s image\n", r.Name)
	kind := "Debian " + suite
	if r.Generated {
		kind = "Generated, because mmdebstrap is not installed"
	}
	fmt.Fprintf(b, "%s: %s compressed, %s decompressed, %d layers", kind,
		bytesText(float64(r.Compressed)), bytesText(float64(r.Uncompressed)), r.Layers)
	if r.Packages > 0 { // only some subjects count them
		fmt.Fprintf(b, ", %d packages, %d findings", r.Packages, r.Findings)
	}
	if r.TrivyFindings > 0 {
		fmt.Fprintf(b, ", %d findings of Trivy", r.TrivyFindings)
	}
	b.WriteString(".\n\n")
	if len(r.Figures) > 0 { // -only may select no comparison
		b.WriteString("| comparison | measured | target (at most) | target met | ratio of processor times |\n|---|---|---|---|---|\n")
		for _, f := range r.Figures {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", f.Name, f.measured(), f.limit(), f.answer(), f.processors())
		}
		b.WriteString("\n")
	}
	b.WriteString("| run | seconds | processor seconds | peak memory | read from staging | written to approved | seconds of each stage |\n|---|---|---|---|---|---|---|\n")
	for _, s := range r.Series {
		if s.Missing != "" {
			fmt.Fprintf(b, "| %s | not run: %s | – | – | – | – | – |\n", s.Name, s.Missing)
			continue
		}
		fmt.Fprintf(b, "| %s | %.2f | %.2f | %s | %s | %s | %s |\n", s.Name, s.median(seconds),
			s.median(processors), bytesText(s.median(peak)), bytesText(s.median(read)),
			bytesText(s.median(func(s Sample) float64 { return float64(s.Written) })), s.stageText())
	}
}

// stageText returns the stages with their seconds, as in "syft 31.0, grype 5.1".
func (s Series) stageText() string {
	var parts []string
	stages := s.stageMedians()
	if len(stages) < 2 {
		return "–" // a single stage is the whole run, so it need not be listed
	}
	for _, stage := range stages {
		parts = append(parts, fmt.Sprintf("%s %.2f", stage.Name, stage.Seconds))
	}
	return strings.Join(parts, ", ")
}

// measured returns the value of the figure as text, with the two parts of a ratio.
func (f Figure) measured() string {
	switch {
	case f.Missing != "":
		return "not measured: " + f.Missing
	case f.absolute():
		return fmt.Sprintf("%.0f %s", f.Value, f.Unit)
	case f.Unit == "B":
		return fmt.Sprintf("**%.2f** (%s / %s)", f.Value, bytesText(f.Of), bytesText(f.To))
	}
	return fmt.Sprintf("**%.2f** (%.2f s / %.2f s)", f.Value, f.Of, f.To)
}

// absolute reports whether the figure is a time or a size, and not a ratio.
func (f Figure) absolute() bool { return f.Unit == "ms" || f.Unit == "MB" }

func (f Figure) processors() string {
	if f.Processors == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", f.Processors)
}

func (f Figure) limit() string {
	switch {
	case f.Limit < 0:
		return "–"
	case f.absolute():
		return fmt.Sprintf("%.0f %s", f.Limit, f.Unit)
	}
	return fmt.Sprintf("%.2f", f.Limit)
}

func (f Figure) answer() string {
	switch {
	case f.Limit < 0 || f.Missing != "":
		return "–"
	case f.reached():
		return "yes"
	}
	return "**no**"
}

func bytesText(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", n/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.0f MB", n/1e6)
	}
	return fmt.Sprintf("%.2f GB", n/1e9)
}
