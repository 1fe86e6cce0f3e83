package formats

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/report"
)

// toolName names this program in a report, and homePage is where its readers learn about it.
const (
	toolName = "imagegate"
	homePage = "https://github.com/imagegate/imagegate"
)

// maxName is the maximum length of a name, a path or a version, in runes.
const maxName = 200

var tag = regexp.MustCompile(`<([A-Za-z/!?])`)

var images = strings.NewReplacer("![", "! [", "](", "] (", "]:", "] :")

// clean makes external text safe for a system that may show it as plain text, Markdown or HTML. It
// limits the text to one line of 2,000 characters, and writes characters that could control a
// terminal or a CI log as escapes. Spaces break up tags, images and links, because opening
// the report would fetch an image. The text stays readable if the system renders nothing.
func clean(s string) string {
	return strings.TrimSpace(images.Replace(tag.ReplaceAllString(report.Sanitize(s), "< $1")))
}

// name is like clean, for a name, a path or a version inside a line.
func name(s string) string { return clip(clean(s), maxName) }

// clip shortens a text to at most limit runes.
func clip(s string, limit int) string {
	const ellipsis = "..."
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:limit-len(ellipsis)]) + ellipsis
}
