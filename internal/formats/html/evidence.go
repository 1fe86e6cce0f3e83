package html

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/units"
	"github.com/imagegate/imagegate/policy/evidence"
)

// identities lists the digests of everything that the decision is based on, and the commands that
// verify them.
type identities struct {
	Rows         []digestRow
	Components   []string
	Advisories   []string
	Destinations []destination
	Attachments  list[attachmentRow]
	// Attested is true if the report has a list of attachments, even an empty one.
	Attested bool
	Commands []command
}

// digestRow is one input or result with its digest.
type digestRow struct{ What, Name, Digest, Note string }

// destination is the image in one approved registry.
type destination struct {
	Reference, State, At, Signer, SignedFor, Decided string
	Statements                                       []digestRow
	Copied, Skipped                                  list[digestRow]
}

// attachmentRow is a signature or statement that verify found.
type attachmentRow struct {
	What, Platform, Digest, Signer, Note string
	Trusted                              bool
}

// command is a command with a sentence about what it verifies.
type command struct{ What, Text string }

func newIdentities(r report.Report) identities {
	e := identities{Rows: digests(r), Components: components(r), Attested: r.Attachments != nil}
	for _, a := range r.Input.Database.Advisories[:min(len(r.Input.Database.Advisories), maxList)] {
		e.Advisories = append(e.Advisories, advisories(a))
	}
	for i := range r.Destinations {
		e.Destinations = append(e.Destinations, newDestination(&r.Destinations[i]))
	}
	var rows []attachmentRow
	for i := range r.Attachments {
		rows = append(rows, newAttachment(&r.Attachments[i]))
	}
	e.Attachments = bounded(rows, maxList)
	e.Commands = checks(r)
	return e
}

// digests lists the image, its platforms, the policy, the database and the approved image.
func digests(r report.Report) []digestRow {
	var rows []digestRow
	add := func(what, about, digest, note string) {
		if digest != "" {
			rows = append(rows, digestRow{what, name(about), name(digest), note})
		}
	}
	add("Image", r.Input.Image.Reference, r.Input.Image.Digest, name(r.Input.Image.MediaType))
	for _, p := range r.Input.Platforms {
		note := cmp.Or(name(p.Distribution.Name), name(strings.TrimSpace(p.Distribution.ID+" "+p.Distribution.Version)))
		if r.Decision != nil { // otherwise, the image was not cataloged
			note = join(note, plural(len(p.Packages), "package"))
		}
		if p.Size > 0 {
			note = join(note, units.Size(p.Size))
		}
		add("Platform", p.Platform, p.Digest, note)
		if p.Base != nil {
			add("Base image, as stated", p.Base.Name, cmp.Or(p.Base.Digest, "no digest"), name(p.Platform))
		}
	}
	add("Policy", r.Policy.File, r.Policy.Digest, "")
	for _, f := range r.Policy.Files {
		add("Policy file", f.Name, f.Digest, "")
	}
	db := r.Input.Database
	note := "schema " + name(db.Schema)
	if !db.Built.IsZero() {
		note = join("built "+instant(db.Built), note)
	}
	add("Database", db.Source, db.Digest, note)
	if b := r.Input.Baseline; b != nil {
		for _, d := range b.Digests {
			add("Approved image", "compared with", d, "")
		}
	}
	if r.Decision != nil {
		for _, m := range r.Decision.Provenance {
			add("Provenance", m.Rule, m.Attestation.Digest, join(name(m.Attestation.PredicateType), "signed by "+name(m.Attestation.Signer.String())))
		}
	}
	return rows
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// advisories describes how many advisories the database has for a part of the image, such as its
// distribution.
func advisories(a evidence.Advisories) string {
	n := thousands(a.Count)
	if a.AtLeast {
		n = "more than " + n
	}
	if a.ByCPE {
		n += " by CPE"
	}
	return n + " for " + name(a.Of())
}

func newDestination(d *report.Destination) destination {
	out := destination{Reference: name(d.Reference), State: name(string(d.State)), At: name(d.Repository + "@" + d.Digest),
		Signer: name(d.Signer), SignedFor: name(d.SignedFor)}
	if !d.Decided.IsZero() {
		out.Decided = instant(d.Decided)
	}
	for _, s := range d.Statements {
		out.Statements = append(out.Statements, digestRow{What: name(s.PredicateType), Name: name(cmp.Or(s.Platform, "image")), Digest: name(s.Digest)})
	}
	out.Copied, out.Skipped = attestations(d.CopiedAttestations), attestations(d.SkippedAttestations)
	return out
}

// attestations returns a row for each attestation from the staging registry.
func attestations(all []report.Attestation) list[digestRow] {
	var rows []digestRow
	for _, a := range all {
		note := name(a.Reason)
		if note == "" && a.Signer != "" {
			note = "signed by " + name(a.Signer)
		}
		rows = append(rows, digestRow{name(cmp.Or(a.PredicateType, "signature")), name(a.Format), name(a.Digest), note})
	}
	return bounded(rows, maxList)
}

func newAttachment(a *report.Attachment) attachmentRow {
	row := attachmentRow{What: name(cmp.Or(a.PredicateType, "statement of unknown type")), Platform: name(cmp.Or(a.Platform, "image")),
		Digest: name(a.Digest), Trusted: a.Trusted, Note: prose(a.Reason)}
	if a.Signature {
		row.What = "signature"
	}
	switch {
	case a.Signer.Key != "":
		row.Signer = "key " + name(a.Signer.Key)
	case a.Signer.Subject != "":
		row.Signer = name(a.Signer.Subject) + " (" + name(a.Signer.Issuer) + ")"
	default:
		row.Signer = "unknown"
	}
	if a.Trusted && a.Result != "" {
		row.Note = name(a.Result) + ", decided " + instant(a.Decided)
	}
	return row
}

// cosignTypes maps predicate types to cosign's short names for them. cosign accepts any other type
// by its full URI.
var cosignTypes = map[string]string{
	"https://spdx.dev/Document":                       "spdxjson",
	"https://cyclonedx.org/bom":                       "cyclonedx",
	"https://cosign.sigstore.dev/attestation/vuln/v1": "vuln",
}

// maxCommands limits the number of destinations that the page lists commands for.
const maxCommands = 5

// checks returns commands that verify the evidence independently of this page. A command never
// contains text that a shell could interpret.
func checks(r report.Report) []command {
	var all []command
	for i := range r.Destinations[:min(len(r.Destinations), maxCommands)] {
		all = append(all, destinationChecks(&r.Destinations[i], r.Override != nil)...)
	}
	pinned := r.Pinned()
	if len(all) == 0 && r.Input.Image.Digest != "" && isWord(pinned) && isWord(r.Policy.File) && !strings.Contains(r.Policy.File, "+") {
		all = append(all, command{"Evaluate the same image again", "imagegate check " + pinned + " --policy " + r.Policy.File})
	}
	if r.Policy.Digest != "" && len(r.Policy.Files) == 0 && isWord(r.Policy.File) {
		all = append(all, command{"Compare the policy with its digest", "sha256sum " + r.Policy.File})
	}
	for _, f := range r.Policy.Files[:min(len(r.Policy.Files), maxCommands)] {
		if isWord(f.Name) {
			all = append(all, command{"Compare " + f.Name + " with its digest", "sha256sum " + f.Name})
		}
	}
	if r.Input.Database.Digest != "" {
		all = append(all, command{"Show the digest and the age of your database", "imagegate db status"})
	}
	return all
}

// destinationChecks returns the commands that verify the image at one destination.
func destinationChecks(d *report.Destination, overridden bool) []command {
	pinned := d.Repository + "@" + d.Digest
	if !isWord(d.Reference) || !isWord(pinned) {
		return nil
	}
	who, cosignWho := signerFlags(d.Signer)
	verify := "imagegate verify " + d.Reference
	if d.SignedFor != "" {
		if !isWord(d.SignedFor) {
			return nil
		}
		verify += " --repository " + d.SignedFor
	}
	verify += " " + who
	what := "Verify the decision about "
	switch {
	case d.State == report.SignatureVerified:
		what, verify = "Verify the signature of ", verify+" --signature-only"
	case overridden:
		verify += " --allow-override"
	}
	all := []command{
		{what + d.Reference, verify},
		{"Check its signature with cosign", "cosign verify " + cosignWho + " " + pinned},
	}
	seen := map[string]bool{}
	for _, s := range d.Statements {
		kind := cmp.Or(cosignTypes[s.PredicateType], s.PredicateType)
		if seen[kind] || !isWord(kind) || len(seen) == maxNames {
			continue
		}
		seen[kind] = true
		all = append(all, command{"Check the statement " + kind, "cosign verify-attestation " + cosignWho + " --type " + kind + " " + pinned})
	}
	return all
}

// signerFlags returns the flags that select the signer, for imagegate and for cosign. signer is the
// fingerprint of a key, or an identity as "subject (issuer)".
func signerFlags(signer string) (own, cosign string) {
	subject, rest, ok := strings.Cut(signer, " (")
	issuer := strings.TrimSuffix(rest, ")")
	if ok && isWord(subject) && isWord(issuer) {
		flags := "--certificate-identity " + subject + " --certificate-oidc-issuer " + issuer
		return flags, flags
	}
	return "--key cosign.pub", "--key cosign.pub --insecure-ignore-tlog"
}

// gaps lists what the evidence does not cover, regardless of the policy.
type gaps struct {
	Unreadable, Unmatched list[gapRow]
	Suppressed            list[gapRow]
	// Elsewhere is the number of files and packages that need no match of their own, because
	// another package covers them.
	Elsewhere int
	// Counts has the total lengths of the three lists of gaps.
	Counts struct{ Unreadable, Unmatched, Suppressed int }
}

// gapRow is one gap in the evidence.
type gapRow struct{ What, Why, Detail, Platform string }

// None reports whether all three lists of gaps are empty.
func (g *gaps) None() bool {
	return g.Counts.Unreadable+g.Counts.Unmatched+g.Counts.Suppressed == 0
}

func newGaps(r report.Report) gaps {
	var g gaps
	var unreadable, unmatched, suppressed []gapRow
	for _, p := range r.Input.Platforms {
		platform := name(p.Platform)
		for _, u := range p.Unknowns {
			if u.Class == evidence.UnknownOwned {
				g.Elsewhere++
				continue
			}
			unreadable = append(unreadable, gapRow{name(u.Path), prose(u.Reason), name(string(u.Class)), platform})
		}
		for _, u := range p.Unmatched {
			if u.Reason.EvaluatedElsewhere() {
				g.Elsewhere++
				continue
			}
			unmatched = append(unmatched, gapRow{unmatchedName(&u), name(string(u.Reason)), prose(u.Detail), platform})
		}
		for _, s := range p.Suppressed {
			suppressed = append(suppressed, gapRow{name(s.Finding.ID), prose(s.Reason), name(s.Finding.Package.Name + " " + s.Finding.Package.Version), platform})
		}
	}
	g.Counts.Unreadable, g.Counts.Unmatched, g.Counts.Suppressed = len(unreadable), len(unmatched), len(suppressed)
	g.Unreadable, g.Unmatched, g.Suppressed = bounded(unreadable, maxList), bounded(unmatched, maxList), bounded(suppressed, maxList)
	return g
}

func unmatchedName(u *evidence.Unmatched) string {
	switch {
	case u.Reason == evidence.TypeNotInDatabase:
		return plural(u.Packages, "package") + " of type " + name(u.Type)
	case u.Package == nil:
		return "distribution"
	}
	return strings.TrimSpace(name(u.Package.Name) + " " + name(u.Package.Version))
}
