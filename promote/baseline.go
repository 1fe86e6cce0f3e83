package promote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Baseline returns the findings of the images that the tags currently point to, from the promoter's
// own signed scans. If no finding can be inherited, b is nil and missing states the reason: a tag
// does not exist, or its image does not prove that it passed, or its scan does not list the
// findings. An image with an override did not pass.
//
// With several tags, the baseline has only the findings that all their images have. One decision
// applies to all destinations, and a finding that is missing from one of them would be new there.
// So if one tag does not exist, no finding is inherited.
//
// An image must have been promoted for its current tag, at most maxAge ago. Otherwise someone
// without the signing key could move the tag to an older image.
//
// Baseline uses the attachments in prefetched instead of reading them again. prefetched may be nil.
func (p *Promoter) Baseline(ctx context.Context, maxAge time.Duration, prefetched *Prefetched, tags ...name.Tag) (b *evidence.Baseline, missing string, err error) {
	s := p.verifier.snapshot(prefetched)
	for i, tag := range tags {
		t := p.trust
		t.Tag, t.MaxAge, t.bothLimits = tag.TagStr(), maxAge, true
		have, err := s.tagged(ctx, tag)
		if err != nil {
			return nil, "", err
		}
		if have.Hex == "" {
			return nil, fmt.Sprintf("%s does not exist yet", tag), nil
		}
		one, missing, err := s.baseline(ctx, tag.Context().Digest(have.String()), t)
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

// Baseline returns the findings of an approved image, from scans by signers that t trusts; see
// Promoter.Baseline. A reference that does not exist is an error, because the user named it
// explicitly. If ref has a tag, the image must have been promoted for this tag.
func (v *Verifier) Baseline(ctx context.Context, ref name.Reference, t Trust) (b *evidence.Baseline, missing string, err error) {
	if tag, ok := ref.(name.Tag); ok {
		t.Tag = tag.TagStr()
	}
	t.bothLimits = true
	return v.snapshot(nil).baseline(ctx, ref, t)
}

func (s snapshot) baseline(ctx context.Context, ref name.Reference, t Trust) (*evidence.Baseline, string, error) {
	proof, err := s.proveAll(ctx, ref, t, s.v.forms())
	var invalid *VerifyError
	if errors.As(err, &invalid) {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	b := &evidence.Baseline{Digests: []string{proof.digest.String()}, Findings: []evidence.BaselineFinding{}}
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

// scannedFindings returns the findings of a scan statement. It returns an error if the scan does
// not name the platform or the package of a finding, because such findings cannot be compared.
func scannedFindings(raw json.RawMessage) ([]evidence.BaselineFinding, error) {
	var scan struct {
		Scanner struct {
			Result struct {
				SchemaVersion int            `json:"schemaVersion"`
				Platform      string         `json:"platform"`
				Findings      *[]scanFinding `json:"findings"`
			} `json:"result"`
		} `json:"scanner"`
	}
	if err := json.Unmarshal(raw, &scan); err != nil {
		return nil, err
	}
	result := scan.Scanner.Result
	if err := checkSchema("scanner.result", result.SchemaVersion); err != nil {
		return nil, err
	}
	switch {
	case result.Findings == nil:
		return nil, errors.New("the statement does not list findings")
	case result.Platform == "":
		return nil, errors.New("the statement does not name its platform")
	}
	var out []evidence.BaselineFinding
	for _, f := range *result.Findings {
		if f.ID == "" || f.Type == "" || f.Name == "" {
			return nil, fmt.Errorf("the finding %q does not name a package and its type", f.ID)
		}
		out = append(out, evidence.BaselineFinding{Platform: result.Platform, ID: f.ID, Aliases: f.Aliases, Type: f.Type, Name: f.Name})
	}
	return out, nil
}

// UsedBaseline records the baseline of a decision and the findings inherited from it.
type UsedBaseline struct {
	// Digests of the approved images that the image was compared with.
	Digests []string `json:"digests"`
	// Findings that would have blocked without the baseline.
	Inherited []Inherited `json:"inherited"`
}

// Inherited is a finding that would have blocked without the baseline.
type Inherited struct {
	// ID of the finding.
	ID string `json:"id"`
	// Purl of the package that has the finding, or name@version if the package has no purl.
	Package string `json:"package"`
	// Platform that has the finding.
	Platform string `json:"platform"`
	// Name of the rule that would have blocked the finding.
	Rule string `json:"rule"`
}

func usedBaseline(b *evidence.Baseline, warnings []policy.Violation) *UsedBaseline {
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
