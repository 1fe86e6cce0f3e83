package main

import (
	"fmt"
	"html"
	"strings"
)

// The dimensions of the plot, in SVG units.
const (
	plotWidth = 760.0
	barLeft   = 250.0 // the left end of the bars; names are to the left of it
	barHeight = 18.0
	rowHeight = 28.0
	barRight  = plotWidth - 60 // the right end of the longest bar
)

// colours maps stages to colors. Equivalent stages of imagegate and the pipeline have the same
// color. Color-blind readers can distinguish the colors, on white and on black.
var colours = map[string]string{
	"syft": "#4477aa", "pull": "#66ccee", "catalog": "#4477aa", "grype": "#ccbb44", "scan": "#ccbb44",
	"copy": "#228833", "push": "#228833", "sign": "#ee6677", "attest": "#aa3377", "other": "#888888",
}

// plotted lists the runs that the plot shows.
var plotted = []string{pipeline, first, firstPlain, denied, firstCheck, rebuiltPromote, rebuiltCheck, checkAgain, again,
	trivyFirst, trivyRebuilt, trivyAgain}

// plot returns an SVG with one bar for each run, divided into stages. The text color follows the
// light or dark mode of the reader's system.
func (r *Results) plot() string {
	longest, rows := 0.0, 0.0
	for i := range r.Images {
		rows++
		for _, name := range plotted {
			if s := r.Images[i].series(name); s.Missing == "" {
				longest = max(longest, s.median(seconds))
				rows++
			}
		}
	}
	var b strings.Builder
	height := rows*rowHeight + 2*rowHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="13" role="img" aria-label="Seconds of each run, by stage">
<style>text{fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>
`, plotWidth, height)
	y := rowHeight
	for i := range r.Images {
		image := &r.Images[i]
		fmt.Fprintf(&b, `<text x="0" y="%.1f" font-weight="bold">the %s image, seconds</text>`+"\n", y-8, html.EscapeString(image.Name))
		for _, name := range plotted {
			if s := image.series(name); s.Missing == "" {
				s.bar(&b, y, (barRight-barLeft)/max(longest, 0.001))
				y += rowHeight
			}
		}
		y += rowHeight
	}
	legend(&b, y)
	b.WriteString("</svg>\n")
	return b.String()
}

// bar draws the bar of one run. scale is the number of SVG units per second.
func (s Series) bar(b *strings.Builder, y, scale float64) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`+"\n", barLeft-8, y+barHeight-4, html.EscapeString(s.Name))
	x := barLeft
	for _, stage := range s.stageMedians() {
		width := stage.Seconds * scale
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s %.2f s</title></rect>`+"\n",
			x, y, width, barHeight, colour(stage.Name), html.EscapeString(stage.Name), stage.Seconds)
		x += width
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%.1f</text>`+"\n", x+6, y+barHeight-4, s.median(seconds))
}

func colour(stage string) string {
	if c, ok := colours[stage]; ok {
		return c
	}
	return colours["other"]
}

// legend draws the legend of the colors.
func legend(b *strings.Builder, y float64) {
	x := 0.0
	for _, entry := range []struct{ stage, text string }{
		{"pull", "pull"}, {"catalog", "syft, catalog"}, {"scan", "grype, scan"}, {"push", "copy, push"},
		{"sign", "sign"}, {"attest", "attest"}, {"other", "other"},
	} {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="12" height="12" fill="%s"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
			x, y-rowHeight/2, colour(entry.stage), x+17, y-rowHeight/2+11, entry.text)
		x += 40 + 7.5*float64(len(entry.text))
	}
}
