package main

import (
	"fmt"
	"strings"
)

// everydayRuns are the rows of the table with the everyday case.
var everydayRuns = []struct {
	name, subject string
	read          bool // the row is about the bytes that the subject reads from staging
}{
	{name: "check of a rebuilt image", subject: rebuiltCheck},
	{name: "Trivy, rebuilt image", subject: trivyRebuilt},
	{name: "promote of a rebuilt image", subject: rebuiltPromote},
	{name: "read from staging by this promote", subject: rebuiltPromote, read: true},
	{name: "check again", subject: checkAgain},
	{name: "Trivy again", subject: trivyAgain},
	{name: "promote again", subject: again},
	{name: "promote of 30 services on one base", subject: manyServices},
	{name: "read from staging by these promotes", subject: manyServices, read: true},
	{name: "first promote, for comparison", subject: first},
	{name: "shell pipeline, for comparison", subject: pipeline},
}

// everyday returns the table with the runs that happen every day, for all images.
func (r *Results) everyday() string {
	var b strings.Builder
	b.WriteString("| run |")
	for _, image := range r.Images {
		fmt.Fprintf(&b, " %s, %s |", image.Name, bytesText(float64(image.Compressed)))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.Images)) + "\n")
	for _, run := range everydayRuns {
		fmt.Fprintf(&b, "| %s |", run.name)
		for i := range r.Images {
			fmt.Fprintf(&b, " %s |", r.Images[i].series(run.subject).cell(run.read))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// cell returns the median of the seconds or of the bytes that were read, as text.
func (s Series) cell(bytes bool) string {
	switch {
	case s.Missing != "":
		return "–"
	case bytes:
		return bytesText(s.median(read))
	}
	return fmt.Sprintf("%.2f s", s.median(seconds))
}
