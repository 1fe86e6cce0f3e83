package remedy

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// NewExceptionsLast is the lifetime of a suggested exception, unless the policy allows only a
// shorter one.
const NewExceptionsLast = 30 * 24 * time.Hour

// expiry returns the end of an exception that is added now, in the form that policies use: after
// NewExceptionsLast, or after most if that is shorter. 0 means no limit.
func expiry(now time.Time, most time.Duration) string {
	last := NewExceptionsLast
	if most > 0 {
		last = min(last, most)
	}
	until := now.Add(last).UTC()
	if day := until.Truncate(24 * time.Hour); day.After(now) {
		return day.Format(time.DateOnly)
	}
	return until.Truncate(time.Second).Format(time.RFC3339)
}

// Exception returns an exception, as an item for the policy's exceptions list, that covers v and as
// little else as possible. It returns "" if exceptions cannot cover v.
func (a *Advisor) Exception(v *policy.Violation) string {
	expires := a.expires()
	if expires == "" || !v.CanBeExcepted() {
		return ""
	}
	first := "rule: " + yamlText(v.Rule)
	if v.Finding != nil {
		first = "id: " + yamlText(v.Finding.ID)
	}
	for _, limit := range append(a.limits(v), "") {
		item := "- {" + first + limit + `, reason: "why it is safe", owner: team@example.com, expires: ` + expires + "}"
		if isException(item) {
			return item
		}
	}
	return ""
}

// limits returns keys that limit an exception to v, the narrowest first. It may return none,
// because names from the image can have characters that a policy does not allow.
func (a *Advisor) limits(v *policy.Violation) (limits []string) {
	var pkg *evidence.Package
	switch {
	case v.Unknown != nil:
		return append(limits, ", path: "+yamlText(pathPattern(v.Unknown.Path)))
	case v.Finding != nil:
		pkg = &v.Finding.Package
	case v.Package != nil:
		pkg = v.Package
	case v.Unmatched != nil && v.Unmatched.Package == nil:
		if pattern := a.family(v); pattern != "" {
			limits = append(limits, ", package: "+yamlText(pattern))
		}
		return limits
	case v.Unmatched != nil:
		pkg = v.Unmatched.Package
	}
	if pkg != nil && pkg.PURL != "" {
		limits = append(limits, ", package: "+yamlText(Unversioned(pkg.PURL)))
	}
	if v.Unmatched != nil && len(pkg.Found) == 1 {
		limits = append(limits, ", path: "+yamlText(pathPattern(pkg.Found[0].Path)))
	}
	return limits
}

// family returns a pattern for all packages that are reported as not covered for the same reason as
// v. It returns "" if the report does not list them.
func (a *Advisor) family(v *policy.Violation) string {
	pattern := ""
	for _, p := range a.Input.Platforms {
		for _, pkg := range p.Packages {
			system := slices.Contains([]string{"alpm", "apk", "deb", "portage", "rpm"}, pkg.Type)
			if p.Platform != v.Platform || v.Unmatched.Type != pkg.Type && (v.Unmatched.Type != "" || !system) {
				continue
			}
			purlType, _, ok := strings.Cut(pkg.PURL, "/")
			if !ok || pattern != "" && pattern != purlType+"/*" {
				return ""
			}
			pattern = purlType + "/*"
		}
	}
	return pattern
}

// pathPattern escapes a path as a pattern that matches only this path.
func pathPattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`).Replace(path)
}

// isException reports whether a policy accepts item as an exception. A policy does not allow all
// characters that a name from the image can have.
func isException(item string) bool {
	_, err := policy.Parse("", []byte("version: 1\nrules: [{name: all}]\nexceptions:\n  "+item+"\n"))
	return err == nil
}

// Unversioned returns a package URL pattern that matches every version of a package.
func Unversioned(purl string) string {
	purl, _, _ = strings.Cut(purl, "#")
	purl, _, _ = strings.Cut(purl, "?")
	slash := strings.LastIndexByte(purl, '/') + 1
	name, _, _ := strings.Cut(purl[slash:], "@")
	return purl[:slash] + name
}

var (
	plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@:+-]*[A-Za-z0-9]$`)
	yamlWord  = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|null)$`)
)

// yamlText returns s as a YAML scalar. Sanitizing the line later does not change the value, because
// the quoted form has already escaped all characters that Sanitize replaces.
func yamlText(s string) string {
	if plainYAML.MatchString(s) && !yamlWord.MatchString(s) && !strings.Contains(s, "::") {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}
