package formats

import (
	"cmp"
	"errors"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	openvex "github.com/openvex/go-vex/pkg/vex"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

// openVEXContext identifies the version of OpenVEX that imagegate writes.
const openVEXContext = "https://openvex.dev/ns/v0.2.0"

// OpenVEX writes the vulnerabilities as OpenVEX 0.2.0 statements. A vulnerability that blocks,
// warns or is excepted has the status affected. Its action statement says what to do, or why it is
// accepted. Only a VEX statement makes a vulnerability not affected or fixed.
//
// The field tooling has the verdict and the counts. Problems that are not vulnerabilities are only
// counted there. An OpenVEX document needs at least one statement, so a report without
// vulnerabilities cannot be written.
func OpenVEX(w io.Writer, r report.Report) error {
	verdict := r.Verdict()
	issued := cmp.Or(r.Finished, r.Started).UTC()
	doc := openvex.VEX{Metadata: openvex.Metadata{Context: openVEXContext, Author: toolName, AuthorRole: "scanner", Version: 1, Timestamp: &issued,
		ID:      homePage + "/vex/" + uuid(r.Input.Image.Repository+" "+r.Input.Image.Digest+" "+issued.String()),
		Tooling: toolName + " " + cmp.Or(name(r.Tool.Version), "unknown") + ", " + sentence(verdict) + " (" + countsText(verdict.Counts) + ")"}}
	for _, p := range problems(r) {
		if p.Finding != nil {
			doc.Statements = append(doc.Statements, statement(r, issued, &p))
		}
	}
	if len(doc.Statements) == 0 {
		return errNoVulnerability
	}
	return report.WriteJSON(w, doc)
}

var errNoVulnerability = errors.New("the report lists no vulnerability, and OpenVEX has no document without statements")

// hasVulnerability returns an error for a report without vulnerabilities, which OpenVEX cannot
// express.
func hasVulnerability(r report.Report) error {
	if !slices.ContainsFunc(r.Items(), func(i report.Item) bool { return i.Finding != nil }) {
		return errNoVulnerability
	}
	return nil
}

// imageComponent returns the OpenVEX component of an image by its digest, in the form that scanners
// look up.
func imageComponent(r report.Report, digest string) openvex.Component {
	repository := name(r.Input.Image.Repository)
	base := cmp.Or(path.Base(repositoryPath(r)), "image")
	if !digestForm.MatchString(digest) {
		return openvex.Component{ID: "pkg:oci/" + url.PathEscape(base)}
	}
	purl := "pkg:oci/" + url.PathEscape(base) + "@" + url.QueryEscape(digest) + "?repository_url=" + strings.ReplaceAll(url.QueryEscape(repository), "%2F", "/")
	return openvex.Component{ID: purl, Hashes: map[openvex.Algorithm]openvex.Hash{openvex.SHA256: openvex.Hash(strings.TrimPrefix(digest, "sha256:"))}}
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// affected returns the products of a statement: the image itself, and the image of each platform
// that has the problem, because some scanners know only the platform's digest.
func affected(r report.Report, p *problem) []openvex.Product {
	digests := []string{r.Input.Image.Digest}
	for _, platform := range r.Input.Platforms {
		if slices.Contains(p.Platforms, platform.Platform) && digestForm.MatchString(platform.Digest) && !slices.Contains(digests, platform.Digest) {
			digests = append(digests, platform.Digest)
		}
	}
	out := make([]openvex.Product, len(digests))
	for i, digest := range digests {
		out[i] = openvex.Product{Component: imageComponent(r, digest), Subcomponents: []openvex.Subcomponent{{Component: packageComponent(p)}}}
	}
	return out
}

func statement(r report.Report, issued time.Time, p *problem) openvex.Statement {
	s := openvex.Statement{ID: homePage + "/vex/statement/" + strings.ReplaceAll(p.Fingerprint, ":", "-"), Vulnerability: openvex.Vulnerability{Name: openvex.VulnerabilityID(cmp.Or(p.ID, "unknown"))},
		Products: affected(r, p), Timestamp: &issued, StatusNotes: p.Status.String() + ": " + p.Rule}
	for _, alias := range p.Finding.Aliases {
		if id := openvex.VulnerabilityID(name(alias)); id != "" && id != s.Vulnerability.Name && !slices.Contains(s.Vulnerability.Aliases, id) {
			s.Vulnerability.Aliases = append(s.Vulnerability.Aliases, id)
		}
	}
	switch {
	case p.Status == report.NotAffected && p.Statement != nil && p.Statement.Status == evidence.VEXFixed:
		s.Status = openvex.StatusFixed
	case p.Status == report.NotAffected:
		s.Status, s.ImpactStatement = openvex.StatusNotAffected, cmp.Or(p.Note, "covered by a VEX statement")
		if p.Statement != nil && slices.Contains(openvex.Justifications(), p.Statement.Justification) {
			s.Justification = openvex.Justification(p.Statement.Justification)
		}
	default:
		s.Status, s.ActionStatement = openvex.StatusAffected, cmp.Or(p.Note, p.Do(), "No fixed version is known.")
	}
	return s
}

// packageComponent returns the OpenVEX component of a package by its package URL or, if it has
// none, by its name.
func packageComponent(p *problem) openvex.Component {
	id := p.PURL
	if !isPURL(id) {
		id = "pkg:generic/" + url.PathEscape(cmp.Or(p.Name, "unknown")) + "@" + url.PathEscape(p.Version)
	}
	return openvex.Component{ID: id}
}

var purlForm = regexp.MustCompile(`^pkg:[A-Za-z0-9.+-]+/[A-Za-z0-9.+%~_/:@-]+(\?[A-Za-z0-9.+%~_/:@=&,-]*)?(#[A-Za-z0-9.+%~_/:@-]*)?$`)

// isPURL reports whether s looks like a package URL and contains only characters that need no
// escaping.
func isPURL(s string) bool { return purlForm.MatchString(s) }
