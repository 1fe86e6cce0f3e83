package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The benchmark writes the everyday case between the first two of these lines of a Markdown page,
// and all results between the last two. It does not change the rest of the page.
const (
	everydayBegin = "<!-- bench: the benchmark writes this table of the everyday case -->\n"
	everydayEnd   = "<!-- bench: end of the everyday case -->\n"

	pageBegin = "<!-- bench: what follows is written by the benchmark -->\n"
	pageEnd   = "<!-- bench: end -->\n"
)

// writePage writes the result tables into a Markdown page, and the plot into an SVG file next to
// the page.
func writePage(path string, r *Results) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	plot := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	text, err := replaced(string(old), everydayBegin, everydayEnd, r.everyday())
	if err == nil {
		text, err = replaced(text, pageBegin, pageEnd, fmt.Sprintf("![Seconds of each run, by stage](%s)\n\n%s", filepath.Base(plot), r.markdown()))
	}
	if err != nil {
		return fmt.Errorf("writing into %s: %w", path, err)
	}
	if err := os.WriteFile(plot, []byte(r.plot()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// replaced returns page with its text between the lines begin and end replaced by text.
func replaced(page, begin, end, text string) (string, error) {
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("the page lacks the line %q", begin)
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("the page lacks the line %q", end)
	}
	return before + begin + text + end + after, nil
}
