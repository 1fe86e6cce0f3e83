package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The benchmark replaces the text between these lines of a page. The rest of the page stays
// unchanged.
const (
	pageBegin = "<!-- bench: what follows is written by the benchmark -->\n"
	pageEnd   = "<!-- bench: end -->\n"
)

// writePage writes the tables into a page, and the plot into a file next to the page.
func writePage(path string, r *Results) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	plot := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	text, err := replaced(string(old), fmt.Sprintf("![Seconds of each run, by stage](%s)\n\n%s", filepath.Base(plot), r.markdown()))
	if err != nil {
		return fmt.Errorf("writing into %s: %w", path, err)
	}
	if err := os.WriteFile(plot, []byte(r.plot()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// replaced returns the page with text between the lines pageBegin and pageEnd.
func replaced(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, pageBegin)
	if !ok {
		return "", fmt.Errorf("the page lacks the line %q", pageBegin)
	}
	_, after, ok := strings.Cut(rest, pageEnd)
	if !ok {
		return "", fmt.Errorf("the page lacks the line %q", pageEnd)
	}
	return before + pageBegin + text + pageEnd + after, nil
}
