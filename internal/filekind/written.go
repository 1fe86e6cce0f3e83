package filekind

import "regexp"

// Head is the number of bytes from the start of a file that IsOwn needs.
const Head = 64 << 10

// own maps the name of a format to a pattern for the start of a report that imagegate wrote. The
// patterns for SBOM formats also match imagegate's entry in the list of tools, because other tools
// write the same formats.
var own = map[string]*regexp.Regexp{
	"text":          regexp.MustCompile(`^imagegate\s+\S+\s+[a-z]+,\s+\d{4}-\d\d-\d\d `),
	"json":          regexp.MustCompile(`^\{\s*"schema": "\d+",\s*"tool": \{\s*"name": "imagegate"`),
	"sarif":         regexp.MustCompile(`^\{\s*"\$schema": ` + text + `,\s*"version": ` + text + `,\s*"runs": \[\s*\{\s*"tool": \{\s*"driver": \{\s*"name": "imagegate"`),
	"gitlab":        regexp.MustCompile(`^\{\s*"version": ` + text + `,\s*"scan": \{\s*"analyzer": \{\s*"id": "imagegate"`),
	"codequality":   regexp.MustCompile(`^\[\s*\{\s*"description": ` + text + `,\s*"check_name": "imagegate/verdict"`),
	"cyclonedx-vex": regexp.MustCompile(cycloneDX),
	"openvex":       regexp.MustCompile(`^\{\s*"@context": ` + text + `,\s*"@id": ` + text + `,\s*"author": "imagegate"`),
	"junit":         regexp.MustCompile(`^<\?xml [^>]*\?>\s*<testsuites name="imagegate: `),
	"markdown":      regexp.MustCompile(`^<!-- imagegate -->\n`),
	"csv":           regexp.MustCompile(`^record,status,severity,id,package,version,type,fixed,purl,rule,kind,platforms,path,`),
	"html":          regexp.MustCompile(`^<!doctype html>\n(?:<[^>]*>\n)*<meta name="generator" content="imagegate">`),
	"cyclonedx":     regexp.MustCompile(cycloneDX),
	"spdx":          regexp.MustCompile(`^\{\s*"spdxVersion": ?"SPDX-[^}]*"creators": ?\[[^\]]*"Tool: imagegate`),
}

const (
	text      = `"(?:[^"\\]|\\.)*"` // a JSON string
	cycloneDX = `^\{[^{]*"metadata": ?\{[^{]*"tools": ?\{\s*"components": ?\[[^\]]*"name": ?"imagegate"`
)

// IsOwn reports whether imagegate wrote the file as a report in this format. data is the start of
// the file, at most Head bytes.
func IsOwn(format string, data []byte) bool {
	start := own[format]
	return start != nil && start.Match(data)
}
