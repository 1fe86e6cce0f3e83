package main

import "slices"

// Figure is a ratio or a time that describes the speed of imagegate, with its limit.
type Figure struct {
	Name string `json:"name"`
	// Value is the value of the figure. For a ratio, it is Of divided by To.
	Value float64 `json:"value"`
	Of    float64 `json:"of,omitempty"`
	To    float64 `json:"to,omitempty"`
	Unit  string  `json:"unit"` // the unit of Of and To or, for a time, of Value
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
	big := func(limit float64) float64 {
		if r.Name == "big" {
			return limit
		}
		return unlimited
	}
	ours := r.series(first)
	limit := 0.30
	if r.Name == "small" {
		limit = 0.35
		if ours.Missing != "" { // if igzip is not installed, use the run without it
			ours = r.series(firstPlain)
		}
	}
	shell, plain, repeat := r.series(pipeline), r.series(firstPlain), r.series(again)
	cold := ours
	if cold.Missing != "" {
		cold = plain
	}
	size := float64(r.Compressed)
	return []Figure{
		ratio("first promote / shell pipeline", "s", limit, ours, shell, seconds),
		ratio("first promote without igzip / shell pipeline", "s", big(0.40), plain, shell, seconds),
		ratio("first denial / syft + grype", "s", big(0.35), r.series(denied), shell.only("syft", "grype"), seconds),
		ratio("promote again, same digest / first promote", "s", big(0.05), repeat, cold, seconds),
		share("staging bytes read / compressed size", 1, cold, size, func(s Sample) float64 { return float64(s.Read) }),
		share("approved bytes written / compressed size", 1, cold, size, func(s Sample) float64 { return float64(s.WrittenImage) }),
		share("approved bytes written by promote again / compressed size", 0, repeat, size, func(s Sample) float64 { return float64(s.WrittenImage) }),
		ingest(big(1.5), ours, r.series(floor)),
		memory(big(0.6), cold, shell),
		alone("imagegate --help", 60, r.series(help)),
		alone("imagegate policy lint", 60, r.series(lint)),
	}
}

func ratio(name, unit string, limit float64, of, to Series, number func(Sample) float64) Figure {
	f := Figure{Name: name, Unit: unit, Limit: limit, Of: of.median(number), To: to.median(number), Missing: of.Missing + to.Missing}
	if busy := to.median(processors); unit == "s" && busy > 0 {
		f.Processors = of.median(processors) / busy
	}
	return f.divided()
}

func seconds(s Sample) float64    { return s.Seconds }
func processors(s Sample) float64 { return s.CPUSeconds }

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

func memory(limit float64, ours, shell Series) Figure {
	return ratio("peak memory / syft", "B", limit, ours, shell.only("syft"), func(s Sample) float64 { return float64(s.Peak) })
}

// alone returns a figure that is an absolute time in milliseconds.
func alone(name string, limit float64, s Series) Figure {
	return Figure{Name: name, Unit: "ms", Limit: limit, Missing: s.Missing, Value: 1000 * s.median(seconds)}
}
