package gate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Evaluation is the evidence about an image and the decision about it. The zero value is a denial.
type Evaluation struct {
	// Input is the evidence that was evaluated, without values that look like credentials.
	Input    evidence.Input
	Decision policy.Decision
	// Started and Finished are the start and the end of the check.
	Started, Finished time.Time
}

// Recheck matches the packages of a cataloged image against the database and evaluates the result,
// without reading the image. It gives no Approval, because the layers are not available for
// promotion.
func (g *Gate) Recheck(ctx context.Context, c *CatalogedImage, external ExternalEvidence) (*Evaluation, error) {
	started := g.opts.Now()
	if err := g.checkDatabase(c.Image.Repository, started); err != nil {
		return nil, err
	}
	input, err := g.match(ctx, c, external, func(store func()) { store() })
	if err != nil {
		return nil, err
	}
	e := g.decide(input, started)
	return &e, nil
}

// checkDatabase returns an error if the database is older than the policies allow for the image's
// repository.
func (g *Gate) checkDatabase(repository string, now time.Time) error {
	return vulndb.CheckAge(g.opts.Database.Info(), g.opts.Policies.MaxDatabaseAge(repository), now)
}

// match collects the evidence about a cataloged image: its findings, the files and packages that
// were not checked, and the external evidence. It calls later with functions that write to the cache.
func (g *Gate) match(ctx context.Context, c *CatalogedImage, external ExternalEvidence, later func(func())) (evidence.Input, error) {
	in := evidence.Input{Image: c.Image, Database: g.opts.Database.Info(),
		VEX: external.VEX, Baseline: external.Baseline,
		Attestations: external.Attestations, Unverified: external.Unverified}
	for _, one := range c.Platforms {
		p := one.Platform
		sctx, done := g.opts.Progress.Start(ctx, Step{Image: c.Image.Reference, Stage: Scan, Subject: p.Platform})
		m, store, err := g.matchCached(sctx, one.SBOM)
		done(err)
		if err != nil {
			return evidence.Input{}, fmt.Errorf("platform %s: %w", p.Platform, err)
		}
		later(store)
		p.Packages, p.Distribution = one.SBOM.Packages, m.Distribution
		p.Findings, p.Suppressed = m.Findings, m.Suppressed
		p.Unknowns, p.Unmatched = m.Unknowns, m.Unmatched
		in.Platforms = append(in.Platforms, p)
		in.Database.Advisories = mergeAdvisories(in.Database.Advisories, m.Advisories)
	}
	return in, nil
}

// decide evaluates the evidence against the policies, as of the current time or of Options.At.
func (g *Gate) decide(in evidence.Input, started time.Time) Evaluation {
	e := Evaluation{Started: started, Finished: g.opts.Now(), Input: in.Public()}
	if g.opts.At.IsZero() {
		e.Decision = g.opts.Policies.Evaluate(in, e.Finished)
		return e
	}
	e.Decision = g.opts.Policies.Evaluate(keptFresh(in, g.opts.At.Sub(e.Finished)), g.opts.At)
	return e
}

// keptFresh returns the evidence with all times of the database moved forward by the given
// duration. A check for a later time uses it, because the database would be updated until then.
func keptFresh(in evidence.Input, by time.Duration) evidence.Input {
	shift := func(t time.Time) time.Time {
		if t.IsZero() {
			return t // The time is unknown and stays unknown.
		}
		return t.Add(by)
	}
	in.Database.Built = shift(in.Database.Built)
	in.Database.Providers = slices.Clone(in.Database.Providers)
	for i := range in.Database.Providers {
		in.Database.Providers[i].Captured = shift(in.Database.Providers[i].Captured)
	}
	return in
}

// mergeAdvisories adds the advisory counts of one platform to the counts of the other platforms,
// without duplicates.
func mergeAdvisories(all, more []evidence.Advisories) []evidence.Advisories {
	for _, a := range more {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b evidence.Advisories) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Distribution, b.Distribution))
	})
	return all
}
