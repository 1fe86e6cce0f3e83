package formats

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/report"
)

// toolName is the name of imagegate in reports. homePage is the address of its documentation.
const (
	toolName = "imagegate"
	homePage = "https://github.com/imagegate/imagegate"
)

// maxName is the maximum length of a name, path or version in a report, in runes.
const maxName = 200

var tag = regexp.MustCompile(`<([A-Za-z/!?])`)

var images = strings.NewReplacer("![", "! [", "](", "] (", "]:", "] :")

// clean makes external text safe for a system that may render it as plain text, Markdown or HTML.
// It limits the text to one line of 2,000 characters, and escapes characters that could control a
// terminal or a CI log. It inserts spaces into tags, images and links, because a rendered image
// would be fetched as soon as the report is opened. Unrendered text stays readable.
func clean(s string) string {
	return strings.TrimSpace(images.Replace(tag.ReplaceAllString(report.Sanitize(s), "< $1")))
}

// name cleans a name, path or version, and limits it to maxName runes.
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
