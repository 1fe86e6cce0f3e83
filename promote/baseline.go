package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/policy"
)

// Baseline is what the images now under the tags have, as the promoter's own
// signed scans say. It is nil where nothing can be inherited, and missing says
// why: nothing is under a tag yet, or what is there does not prove that it passed,
// or not what was found in it. An image that an override let through did not pass.
//
// Of several tags it is what all of their images have: one decision is made for
// all, and what one destination has never had would be new there. So a tag with
// nothing under it leaves nothing to inherit.
//
// An image must have been promoted under the very tag, no longer ago than maxAge:
// somebody who can push and has no key may have moved the tag to an older image.
func (p *Promoter) Baseline(ctx context.Context, maxAge time.Duration, tags ...name.Tag) (b *policy.Baseline, missing string, err error) {
	for i, tag := range tags {
		t := p.trust
		t.Tag, t.MaxAge, t.bothLimits = tag.TagStr(), maxAge, true
		have, err := p.tagged(ctx, tag)
		if err != nil {
			return nil, "", err
		}
		if have.Hex == "" {
			return nil, fmt.Sprintf("nothing is under %s yet", tag), nil
		}
		one, missing, err := p.baseline(ctx, tag.Context().Digest(have.String()), t)
		if err != nil || one == nil {
			return nil, missing, err
		}
		if i == 0 {
			b = one
			continue
		}
		b = b.And(one)
	}
	return b, "", nil
}

// Baseline is what an approved image has, as scans say that t trusts; see
// Promoter.Baseline. A reference that names nothing is an error here: somebody
// spelled it out. Of a reference with a tag, the image must have been promoted under
// it.
func (v *Verifier) Baseline(ctx context.Context, ref name.Reference, t Trust) (b *policy.Baseline, missing string, err error) {
	if tag, ok := ref.(name.Tag); ok {
		t.Tag = tag.TagStr()
	}
	t.bothLimits = true
	return v.p.baseline(ctx, ref, t)
}

func (p *Promoter) baseline(ctx context.Context, ref name.Reference, t Trust) (*policy.Baseline, string, error) {
	proof, err := p.proveAll(ctx, ref, t, p.reads())
	var unproven *VerifyError
	if errors.As(err, &unproven) {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	b := &policy.Baseline{Digests: []string{proof.digest.String()}, Findings: []policy.BaselineFinding{}}
	for _, a := range proof.listed(proof.decision) {
		if a.PredicateType != ScanType {
			continue
		}
		findings, err := scannedFindings(a.predicate)
		if err != nil {
			return nil, fmt.Sprintf("reading the scan of %s: %v", ref.Context().Digest(a.Subject), err), nil
		}
		b.Findings = append(b.Findings, findings...)
	}
	return b, "", nil
}

// scannedFindings are what a scan found. One that does not say of each on which
// platform and in which package it is cannot be compared with.
func scannedFindings(raw json.RawMessage) ([]policy.BaselineFinding, error) {
	var scan struct {
		Scanner struct {
			Result struct {
				Platform string         `json:"platform"`
				Findings *[]scanFinding `json:"findings"`
			} `json:"result"`
		} `json:"scanner"`
	}
	if err := json.Unmarshal(raw, &scan); err != nil {
		return nil, err
	}
	result := scan.Scanner.Result
	switch {
	case result.Findings == nil:
		return nil, errors.New("it does not list findings")
	case result.Platform == "":
		return nil, errors.New("it does not name its platform")
	}
	var out []policy.BaselineFinding
	for _, f := range *result.Findings {
		if f.ID == "" || f.Type == "" || f.Name == "" {
			return nil, fmt.Errorf("its finding %q does not name a package that could be compared with", f.ID)
		}
		out = append(out, policy.BaselineFinding{Platform: result.Platform, ID: f.ID, Aliases: f.Aliases, Type: f.Type, Name: f.Name})
	}
	return out, nil
}

// UsedBaseline is what was compared with, and what was inherited from it.
type UsedBaseline struct {
	Digests   []string    `json:"digests"` // of the approved images
	Inherited []Inherited `json:"inherited"`
}

// Inherited is a finding that would have blocked but for the baseline.
type Inherited struct {
	ID       string `json:"id"`
	Package  string `json:"package"`
	Platform string `json:"platform"`
	Rule     string `json:"rule"`
}

func usedBaseline(b *policy.Baseline, warnings []policy.Violation) *UsedBaseline {
	if b == nil {
		return nil
	}
	used := &UsedBaseline{Digests: b.Digests, Inherited: []Inherited{}}
	for _, w := range warnings {
		if w.Inherited {
			used.Inherited = append(used.Inherited, Inherited{ID: w.Finding.ID, Package: packageName(w.Finding.Package), Platform: w.Platform, Rule: w.Rule})
		}
	}
	return used
}
