package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	codeBlock  = regexp.MustCompile("(?ms)^```.*?^```")
	markdown   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInNames = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestLinksBetweenDocumentsLead checks that each relative link in a document leads to an existing
// file and, if it has an anchor, to an existing heading.
func TestLinksBetweenDocumentsLead(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md", "../examples/*.md", "../examples/*/*.md", "../examples/*/*/*.md"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		for _, link := range markdown.FindAllStringSubmatch(prose(t, file), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(link[1], ":") {
				continue
			}
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, link[1], err)
			} else if anchor != "" && strings.HasSuffix(target, ".md") && !hasHeading(prose(t, target), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", file, link[1], target)
			}
		}
	}
}

// prose returns a document without its code blocks.
func prose(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return codeBlock.ReplaceAllString(string(text), "")
}

// hasHeading reports whether GitHub gives a heading of the document this anchor.
func hasHeading(text, anchor string) bool {
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		name := notInNames.ReplaceAllString(strings.ToLower(strings.TrimSpace(h[1])), "")
		if strings.ReplaceAll(name, " ", "-") == anchor {
			return true
		}
	}
	return false
}
