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

// fixText returns the fixed version, or a sentence if no version fixes the finding. fixable reports
// whether there is a fixed version.
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

// because describes the exception or the VEX statement that keeps an item from blocking. It returns
// "" if there is none.
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

// statementSource returns the verified signer of a VEX statement, otherwise the author that it
// claims, otherwise the name of its document.
func statementSource(s *evidence.VEXStatement) string {
	switch {
	case s.Signer != nil:
		return name(s.Signer.String()) + ", verified"
	case s.Author != "":
		return name(s.Author) + ", as stated"
	}
	return name(s.Document)
}

// ruleText returns the name of a rule and its position in the policy.
func ruleText(v *policy.Violation) string {
	where := cmp.Or(place(v.Position), "built in")
	if v.Scope != "" {
		where += ", for images " + name(v.Scope)
	}
	return name(v.Rule) + " (" + where + ")"
}

// kindName returns the kind of an item as readers see it.
func kindName(i *report.Item) string {
	if i.Kind == policy.KindSBOM {
		return "SBOM"
	}
	return cmp.Or(name(string(i.Kind)), "other")
}
