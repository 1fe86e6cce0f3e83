package formats

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/remedy"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// problem is an item of a report, with the texts that all formats share. The texts have passed
// through clean.
type problem struct {
	report.Item
	// ID is the id of the vulnerability or, for a problem of another kind, the name of the rule.
	ID string
	// Title names the problem, on one line.
	Title string
	// Name, Version, Type and PURL describe the package. They are empty if the problem is not about
	// a package.
	Name, Version, Type, PURL string
	// Fixed has the fixed versions, joined by " or ". It is empty if no version is known to fix the
	// problem.
	Fixed string
	// Path is the first path of the problem in the image, without a leading slash. It is empty if
	// there is none.
	Path string
	// Rule is the name of the rule and its position in the policy.
	Rule string
	// Note says why the problem does not block, or which exceptions used to cover it. It is usually
	// empty for a blocking problem.
	Note string
	// Fingerprint identifies the problem in a repository, like report.Item.Fingerprint. A suffix
	// makes it unique in the report.
	Fingerprint string
}

// problems returns the items of a report as problems, blocking ones first.
func problems(r report.Report) []problem {
	items := r.Items()
	out := make([]problem, len(items))
	seen := map[string]int{}
	for i := range items {
		p := newProblem(items[i])
		fingerprint := p.Item.Fingerprint(r.Input.Image.Repository)
		seen[fingerprint]++
		p.Fingerprint = fingerprint + ":" + strconv.Itoa(seen[fingerprint])
		out[i] = p
	}
	return out
}

func newProblem(item report.Item) problem {
	p := problem{Item: item, ID: name(item.Rule), Rule: ruleText(item.Violation), Note: note(item), Path: place(item)}
	if s := item.Subject(); s != nil {
		p.Name, p.Version, p.Type, p.PURL = name(s.Name), name(s.Version), name(s.Type), clean(s.PURL)
	}
	if f := item.Finding; f != nil {
		p.ID, p.Fixed = name(f.ID), fixed(f)
		p.Title = fmt.Sprintf("%s in %s %s", p.ID+cve(f), p.Name, p.Version)
	} else {
		p.Title = clean(cmp.Or(item.Message, "a problem of kind "+cmp.Or(string(item.Kind), "unknown")))
	}
	return p
}

// Severity returns the name of the severity, or "" for a problem that is not a vulnerability.
func (p *problem) Severity() string {
	if p.Finding == nil {
		return ""
	}
	return p.Finding.Severity.String()
}

// Suppressed reports whether an exception or a VEX statement covers the problem.
func (p *problem) Suppressed() bool {
	return p.Status == report.Excepted || p.Status == report.NotAffected
}

// Do returns an instruction for fixing the problem, or "" if none is known.
func (p *problem) Do() string {
	if p.Fixed == "" {
		return ""
	}
	if target, _ := remedy.Targets(p.Finding.Package, []*evidence.Finding{p.Finding}); target != "" {
		return fmt.Sprintf("Upgrade %s to %s.", p.Name, name(target))
	}
	return fmt.Sprintf("Upgrade %s to a version with the fix: it is in %s.", p.Name, p.Fixed)
}

// URL returns the address of the advisory, or "" if the problem has no ordinary http or https
// address.
func (p *problem) URL() string {
	if p.Finding == nil {
		return ""
	}
	return webAddress(p.Finding.URL)
}

// On returns the platforms of the problem, as in "linux/amd64, linux/arm64". It returns "" if the
// problem concerns the whole image.
func (p *problem) On() string {
	names := make([]string, len(p.Platforms))
	for i, platform := range p.Platforms {
		names[i] = name(platform)
	}
	return strings.Join(names, ", ")
}

// cve returns the CVE of a finding whose own id is another one, as in " (CVE-2026-1)", so that a
// search for the CVE finds the problem in every format. It returns "" if there is none.
func cve(f *evidence.Finding) string {
	if strings.HasPrefix(f.ID, "CVE-") {
		return ""
	}
	for _, alias := range f.Aliases {
		if strings.HasPrefix(alias, "CVE-") {
			return " (" + name(alias) + ")"
		}
	}
	return ""
}

func fixed(f *evidence.Finding) string {
	if f.FixState != evidence.FixAvailable {
		return ""
	}
	versions := make([]string, len(f.Fixes))
	for i, fix := range f.Fixes {
		versions[i] = name(fix.Version)
	}
	return name(strings.Join(versions, " or "))
}

func ruleText(v policy.Violation) string {
	text := "rule " + name(v.Rule)
	switch {
	case v.Position.Line > 0:
		text += fmt.Sprintf(" (%s:%d)", name(v.Position.File), v.Position.Line)
	case v.Position.File != "":
		text += " (" + name(v.Position.File) + ")"
	}
	if v.Scope != "" {
		text += " for images " + name(v.Scope)
	}
	return text
}

// note returns the reason why an item does not block, or the exceptions that used to cover it.
func note(item report.Item) string {
	switch {
	case item.Status == report.Excepted && item.Exception != nil:
		e := item.Exception
		return fmt.Sprintf("excepted until %s, owner %s: %s", day(e.Expires), name(e.Owner), clean(e.Reason))
	case item.Status == report.NotAffected && item.Statement != nil:
		s := item.Statement
		text := fmt.Sprintf("VEX statement of %s: %s", name(cmp.Or(s.Author, s.Document, "an unnamed author")), name(string(s.Status)))
		if why := cmp.Or(s.Justification, s.Impact); why != "" {
			text += ", " + clean(why)
		}
		return text
	case item.Inherited:
		return "the current approved image has it too"
	case !item.Blocks.IsZero():
		return "blocks from " + day(item.Blocks)
	case len(item.Expired) > 0:
		return fmt.Sprintf("its exception expired on %s, owner %s", day(item.Expired[0].Expires), name(item.Expired[0].Owner))
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// place returns the first path of an item, relative to the root of the image.
func place(item report.Item) string {
	at := ""
	switch {
	case len(item.Places) > 0:
		at = item.Places[0].Path
	case item.Unknown != nil:
		at = item.Unknown.Path
	default:
		if s := item.Subject(); s != nil && len(s.Found) > 0 {
			at = s.Found[0].Path
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name(at)), "/")
}

// transports are the prefixes of references to images outside registries, as in "oci:builds/app".
var transports = []string{"oci", "oci-archive", "docker-archive", "docker-daemon"}

// repositoryPath returns the repository without the registry, as in "team/app". It is the same for
// every tag and digest, so it identifies the image in locations that must not change with each
// build.
func repositoryPath(r report.Report) string {
	repository := r.Input.Image.Repository
	if transport, rest, ok := strings.Cut(repository, ":"); ok && slices.Contains(transports, transport) {
		repository = rest
	} else if _, rest, ok := strings.Cut(repository, "/"); ok {
		repository = rest
	}
	return cmp.Or(strings.TrimPrefix(path.Clean("/"+name(repository)), "/"), "image")
}

// platformName names the subject of the report: the platform of an image, or "all-platforms" for an
// index.
func platformName(r report.Report) string {
	switch platforms := r.Input.Platforms; len(platforms) {
	case 0:
		return "unknown-platform"
	case 1:
		return name(platforms[0].Platform)
	}
	return "all-platforms"
}

// sentence returns the verdict in one line, as in "DENIED: 28 problems in 22 packages".
func sentence(v report.Verdict) string { return v.Word + ": " + clean(v.Why) }

// countsText returns the counts in one line.
func countsText(c report.Counts) string {
	return fmt.Sprintf("%d blocking, %d warnings, %d excepted, %d not affected", c.Blocking, c.Warnings, c.Excepted, c.NotAffected)
}

// fact is a named value about the run.
type fact struct{ name, value string }

// facts returns the verdict, the counts and the image, for formats that have fields for named
// values.
func facts(r report.Report) []fact {
	v := r.Verdict()
	return []fact{{"verdict", v.Word}, {"outcome", v.Outcome.String()}, {"why", clean(v.Why)},
		{"blocking", strconv.Itoa(v.Counts.Blocking)}, {"warnings", strconv.Itoa(v.Counts.Warnings)},
		{"excepted", strconv.Itoa(v.Counts.Excepted)}, {"notAffected", strconv.Itoa(v.Counts.NotAffected)},
		{"image", imageName(r)}, {"digest", name(r.Input.Image.Digest)}, {"policyDigest", name(r.Policy.Digest)}}
}

// cautions returns the warnings of a report, without empty ones.
func cautions(r report.Report) []string {
	var out []string
	for _, c := range r.AllCautions() {
		if c = clean(c); c != "" {
			out = append(out, c)
		}
	}
	return out
}

// imageName returns the image as the user wrote it, or its repository.
func imageName(r report.Report) string {
	return clean(cmp.Or(r.Input.Image.Reference, r.Input.Image.Repository, "an unknown image"))
}

// webAddress returns s if it is an ordinary http or https URL, else "".
func webAddress(s string) string {
	const most = 2000
	if len(s) > most || s != clean(s) || strings.ContainsAny(s, " \"'<>()[]{}|\\^`") {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return s
}
