package html

import (
	"cmp"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func packageKey(p *evidence.Package) string {
	return strings.Join([]string{p.Type, p.Name, p.Version}, "\x00")
}

// fixText returns the version with the fix, or a sentence without one.
func fixText(f *evidence.Finding) (text string, fixable bool) {
	switch f.FixState {
	case evidence.FixAvailable:
		var versions []string
		for _, fix := range f.Fixes[:min(len(f.Fixes), maxPlaces)] {
			versions = append(versions, name(fix.Version))
		}
		return cmp.Or(strings.Join(versions, " or "), "unknown version"), true
	case evidence.FixNone:
		return "not fixed", false
	case evidence.FixWont:
		return "will not be fixed", false
	}
	return "unknown", false
}

func kevText(k *evidence.KEV) string {
	if k == nil {
		return ""
	}
	text := "Listed in CISA's catalog of known exploited vulnerabilities"
	if !k.Added.IsZero() {
		text += " since " + date(k.Added)
	}
	if k.Ransomware {
		text += "; used by ransomware"
	}
	return text
}

// because says why an item does not block.
func because(i *report.Item) string {
	switch {
	case i.Exception != nil:
		return "Exception " + exceptionText(i.Exception)
	case i.Statement != nil:
		s := i.Statement
		text := "VEX statement " + name(string(s.Status))
		if s.Justification != "" {
			text += " (" + name(s.Justification) + ")"
		}
		if by := statementSource(s); by != "" {
			text += " by " + by
		}
		if s.Impact != "" {
			text += ": " + prose(s.Impact)
		}
		return text
	}
	return ""
}

func exceptionText(e *policy.Exception) string {
	return "of " + name(e.Owner) + " until " + date(e.Expires) + ": " + prose(e.Reason)
}

// statementSource names the signer of a statement, or the author that it states.
func statementSource(s *evidence.VEXStatement) string {
	switch {
	case s.Signer != nil:
		return name(s.Signer.String()) + ", verified"
	case s.Author != "":
		return name(s.Author) + ", as stated"
	}
	return name(s.Document)
}

// ruleText names a rule and its place in the policy.
func ruleText(v *policy.Violation) string {
	where := cmp.Or(place(v.Position), "built in")
	if v.Scope != "" {
		where += ", for images " + name(v.Scope)
	}
	return name(v.Rule) + " (" + where + ")"
}

// kindName is the kind of an item for people.
func kindName(i *report.Item) string {
	if i.Kind == policy.KindSBOM {
		return "SBOM"
	}
	return cmp.Or(name(string(i.Kind)), "other")
}
