package main

import (
	"slices"
	"strings"
)

// Figure is a ratio, a time or a size that describes the speed of imagegate, with its limit.
type Figure struct {
	Name string `json:"name"`
	// Value is the value of the figure. For a ratio, it is Of divided by To.
	Value float64 `json:"value"`
	Of    float64 `json:"of,omitempty"`
	To    float64 `json:"to,omitempty"`
	Unit  string  `json:"unit"` // the unit of Of and To or, for a time or a size, of Value
	// Processors is the same ratio for processor times instead of wall-clock times. Processor times
	// are more reliable on a machine with other load. 0 means unknown.
	Processors float64 `json:"processors,omitempty"`
	// Limit is the maximum for Value. A negative limit means that this image has no limit.
	Limit float64 `json:"limit"`
	// Missing is the reason why the value is missing.
	Missing string `json:"missing,omitempty"`
}

// reached reports whether the value of the figure is known and within its limit.
func (f Figure) reached() bool { return f.Missing == "" && f.Value <= f.Limit }

// unlimited is the Limit of a figure that has no limit.
const unlimited = -1

// figures computes the figures of an image from the medians of its samples.
func figures(r *ImageResult) []Figure {
	if r.small() {
		return append(everydayFigures(r), append(smallFigures(r), otherFigures(r)...)...)
	}
	return append(everydayFigures(r), otherFigures(r)...)
}

// limits returns the limit for a large image or for the small image.
func (r *ImageResult) limits(large, small float64) float64 {
	if r.small() {
		return small
	}
	return large
}

func (r *ImageResult) small() bool { return r.Name == small }

// cold returns the series of the first promotion. If igzip is not installed, it is the series
// without a decompression program.
func (r *ImageResult) cold() Series {
	if s := r.series(first); s.Missing == "" {
		return s
	}
	return r.series(firstPlain)
}

// everydayFigures returns the figures of the runs that happen every day: an image is rebuilt, or
// checked again.
func everydayFigures(r *ImageResult) []Figure {
	rebuild := r.series(rebuiltPromote)
	return []Figure{
		ratio("check of a rebuilt image / Trivy", "s", 1, r.series(rebuiltCheck), r.series(trivyRebuilt), seconds),
		ratio("promote of a rebuilt image / first promote", "s", r.limits(0.12, unlimited), rebuild, r.cold(), seconds),
		share("staging bytes read for a rebuilt image / its new layer", 1.05, rebuild, rebuild.median(newLayer), read),
		ratio("check again / Trivy again", "s", 1, r.series(checkAgain), r.series(trivyAgain), seconds),
		ratio("first check / Trivy, first", "s", 0.6, r.series(firstCheck), r.series(trivyFirst), seconds),
		ratio("promote again, same digest / first promote", "s", r.limits(0.03, unlimited), r.series(again), r.cold(), seconds),
	}
}

// smallFigures returns the figures that only the small image has.
func smallFigures(r *ImageResult) []Figure {
	many := r.series(manyServices)
	one := many.only(firstService).times(services)
	return []Figure{
		ratio("30 services on one base / 30 times the first", "s", 0.25, many, one, seconds),
		{Name: "staging bytes read for 30 services", Unit: "MB", Limit: 130, Missing: many.Missing, Value: many.median(read) / 1e6},
		extra("opening a database of 600,000 records", 100, r.series(tinyLarge), r.series(tiny)),
	}
}

// otherFigures returns the figures of first runs, and of commands without an image.
func otherFigures(r *ImageResult) []Figure {
	ours, cold := r.series(first), r.cold()
	if r.small() {
		ours = cold
	}
	shell, plain, repeat := r.series(pipeline), r.series(firstPlain), r.series(again)
	size := float64(r.Compressed)
	return []Figure{
		ratio("first promote / shell pipeline", "s", r.limits(0.25, 0.28), ours, shell, seconds),
		ratio("first promote without igzip / shell pipeline", "s", r.limits(0.40, unlimited), plain, shell, seconds),
		ratio("first denial / syft + grype", "s", r.limits(0.35, unlimited), r.series(denied), shell.only("syft", "grype"), seconds),
		share("staging bytes read / compressed size", 1, cold, size, read),
		share("approved bytes written / compressed size", 1, cold, size, writtenImage),
		share("approved bytes written by promote again / compressed size", 0, repeat, size, writtenImage),
		ingest(r.limits(1.5, unlimited), ours, r.series(floor)),
		ratio("peak memory / syft", "B", r.limits(0.6, 1), cold, shell.only("syft"), peak),
		ratio("peak memory / Trivy", "B", r.limits(1, unlimited), cold, r.series(trivyFirst), peak),
		alone("imagegate --help", 60, r.series(help)),
		alone("imagegate policy lint", 60, r.series(lint)),
	}
}

func ratio(name, unit string, limit float64, of, to Series, number func(Sample) float64) Figure {
	f := Figure{Name: name, Unit: unit, Limit: limit, Of: of.median(number), To: to.median(number), Missing: missing(of, to)}
	if busy := to.median(processors); unit == "s" && busy > 0 {
		f.Processors = of.median(processors) / busy
	}
	return f.divided()
}

// missing returns the reasons why series are missing, each reason once.
func missing(all ...Series) string {
	var reasons []string
	for _, s := range all {
		if s.Missing != "" && !slices.Contains(reasons, s.Missing) {
			reasons = append(reasons, s.Missing)
		}
	}
	return strings.Join(reasons, ", ")
}

func seconds(s Sample) float64    { return s.Seconds }
func processors(s Sample) float64 { return s.CPUSeconds }
func peak(s Sample) float64       { return float64(s.Peak) }
func read(s Sample) float64       { return float64(s.Read) }
func newLayer(s Sample) float64   { return float64(s.NewLayer) }

func writtenImage(s Sample) float64 { return float64(s.WrittenImage) }

// divided returns the figure with Value set to Of divided by To, if both are known.
func (f Figure) divided() Figure {
	switch {
	case f.Missing != "":
	case f.To == 0:
		f.Missing = "not measured on this system"
	default:
		f.Value = f.Of / f.To
	}
	return f
}

// only returns the series with the named stages alone: each sample is the sum of these stages. Each
// of them must be a separate process.
func (s Series) only(names ...string) Series {
	out := Series{Name: s.Name, Missing: s.Missing}
	for _, sample := range s.Samples {
		var part Sample
		for _, stage := range sample.Stages {
			if slices.Contains(names, stage.Name) {
				part.Seconds += stage.Seconds
				part.CPUSeconds += stage.CPUSeconds
				part.Peak = max(part.Peak, stage.Peak)
			}
		}
		out.Samples = append(out.Samples, part)
	}
	return out
}

// times returns the series with the times of each sample multiplied by n.
func (s Series) times(n float64) Series {
	out := Series{Name: s.Name, Missing: s.Missing}
	for _, sample := range s.Samples {
		sample.Seconds *= n
		sample.CPUSeconds *= n
		out.Samples = append(out.Samples, sample)
	}
	return out
}

func share(name string, limit float64, s Series, size float64, number func(Sample) float64) Figure {
	f := Figure{Name: name, Unit: "B", Limit: limit, Of: s.median(number), To: size, Missing: s.Missing}
	return f.divided()
}

// ingest returns the figure that compares imagegate's stage pull with the time that curl, igzip and
// sha256sum take for the same layers. The stage pull fetches, verifies and decompresses layers.
// Building the file trees is part of the stage catalog.
func ingest(limit float64, ours, least Series) Figure {
	return ratio("ingest / curl, igzip, sha256sum", "s", limit, ours.only("pull"), least, seconds)
}

// alone returns a figure that is an absolute time in milliseconds.
func alone(name string, limit float64, s Series) Figure {
	return Figure{Name: name, Unit: "ms", Limit: limit, Missing: s.Missing, Value: 1000 * s.median(seconds)}
}

// extra returns a figure that is the time in milliseconds that one series takes longer than another.
func extra(name string, limit float64, longer, shorter Series) Figure {
	return Figure{Name: name, Unit: "ms", Limit: limit, Missing: missing(longer, shorter),
		Value: 1000 * (longer.median(seconds) - shorter.median(seconds))}
}
