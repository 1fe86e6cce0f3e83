// Package gate checks an image and returns a policy decision.
//
// [Gate.Check] is the entry point. It resolves the reference once to a digest, fetches and verifies
// every layer, catalogs each platform, matches its packages against the vulnerability database, and
// evaluates the result against the policies. A denial is a value in the Result. An error means that
// no decision could be made. Only a pass yields an [Approval], and only an Approval can be
// promoted.
//
// The package writes to no registry.
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
)

// Options configure a Gate. Fields without a stated default are required.
type Options struct {
	// Policies are evaluated against the evidence. The image must pass every one.
	Policies policy.Set
	// Database is the vulnerability database to match against. The caller closes it.
	Database *vulndb.DB
	// TempDir is the parent folder. Each run creates a folder of its own in it.
	TempDir string
	// Now returns the current time.
	Now func() time.Time
	// Tool is the program that statements and documents name as their creator.
	Tool Tool

	// Platform, such as "linux/arm64", selects one image of an index. Default: all platforms.
	Platform string
	// Keychain and Transport are used for the staging registry. Default: no credentials, and
	// http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// Parallel is the maximum number of layers that are processed at once. Default: one for each
	// core, at most 8.
	Parallel int
	// MaxDisk limits the bytes in TempDir, fetched and decompressed. Default: see layers.Options.
	MaxDisk int64
	// At evaluates the policies as of a later time. It shows what will block by then, assuming that
	// the database is kept as fresh as it is now. Such a check gives no Approval. Default: now.
	At time.Time
	// Cache stores catalogs, so that an image that was checked before is evaluated again without
	// pulling it. Default: no cache.
	Cache *cache.Cache
	// Gunzip is a program that decompresses layers, with its arguments; see layers.Options.
	// Default: decompress in this process.
	Gunzip []string
	// UnpackIn makes libraries unpack archives in dir until undo is called. Libraries take this
	// folder from the environment, which this package does not change. If UnpackIn is nil, they use
	// the system's temporary folder, and the files there do not count towards MaxDisk.
	UnpackIn func(dir string) (undo func() error, err error)
	// Progress receives progress events. Default: none.
	Progress Progress
}

// Tool identifies a build of this program.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// URI is the identity of the verifier and scanner in statements.
	URI string `json:"uri"`
	// Components are the versions of syft, grype and cosign in this build, by name.
	Components map[string]string `json:"components"`
	// Build distinguishes builds of the same version. A cache entry of another build is not used.
	Build string `json:"-"`
}

// Gate checks images against a set of policies and one database.
type Gate struct {
	opts     Options
	platform *v1.Platform
	remote   []remote.Option
}

// New validates the options and returns a Gate.
func New(opts Options) (*Gate, error) {
	switch {
	case len(opts.Policies) == 0 || slices.Contains(opts.Policies, nil):
		return nil, errors.New("no policy: nothing can pass")
	case opts.Database == nil:
		return nil, errors.New("no vulnerability database")
	case opts.TempDir == "":
		return nil, errors.New("no temporary directory")
	case opts.Now == nil:
		return nil, errors.New("no clock")
	case opts.Tool.Name == "" || opts.Tool.URI == "":
		return nil, errors.New("no tool name and URI")
	}
	g := &Gate{opts: opts}
	if opts.Platform != "" {
		p, err := v1.ParsePlatform(opts.Platform)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf("platform %q: want os/arch or os/arch/variant", opts.Platform)
		}
		g.platform = p
	}
	if g.opts.Progress == nil {
		g.opts.Progress = silent{}
	}
	if g.opts.Parallel == 0 {
		g.opts.Parallel = min(runtime.GOMAXPROCS(0), 8)
	}
	// A puller limits concurrent blobs to its number of jobs. With two more jobs than layers, a
	// stalled layer cannot block the config of the next image.
	g.remote = registry.Options{Keychain: opts.Keychain, Transport: opts.Transport,
		UserAgent: opts.Tool.Name + "/" + opts.Tool.Version, Jobs: g.opts.Parallel + 2}.Remote()
	return g, nil
}

// Result is the outcome of a check. It holds the fetched layers on disk until it is closed.
type Result struct {
	Image *Image
	// Input is the evidence that was evaluated, without values that look like credentials.
	Input    policy.Input
	Decision policy.Decision
	// SBOMs has one SBOM for each platform, in the order of Image.Platforms.
	SBOMs []*SBOM
	// Moved is the digest that the tag names after the check, if it differs from the checked digest
	// because of a push in between. It is reported and never followed. It is "nothing" if the tag
	// was deleted, and empty if nothing changed.
	Moved string
	// Approval is nil unless the decision is a pass; see also [Result.Override].
	Approval *Approval
	// Started and Finished are the start and the end of the check.
	Started, Finished time.Time
	// Fetched counts the bytes and blobs that were read from the source.
	Fetched layers.Stats
	// CacheHits is the number of platforms whose catalog came from the cache.
	CacheHits int

	store   *layers.Store
	storing sync.WaitGroup // stores catalogs in the cache in the background; Close waits for it
	// recorded is the Approval that a pass or an override returns. It is recorded before a caller can
	// change the fields above. It is nil if the check was made as of a later time.
	recorded *Approval
	now      func() time.Time
}

// Close removes everything that the check left on disk. After that, the Approval of this Result can
// no longer be promoted.
func (r *Result) Close() error {
	r.storing.Wait()
	return r.store.Close()
}

// ExternalEvidence is external evidence: evidence that is not in the image itself. The policies decide how it
// counts. The zero value means none.
type ExternalEvidence struct {
	// VEX has the VEX statements about the image.
	VEX []policy.VEXStatement
	// Attestations are the attestations attached to the image in the staging registry that a
	// trusted signer signed. Unverified is the number of other attestations there.
	Attestations []policy.Attestation
	Unverified   int
	// Baseline is the evidence of the image that is currently approved.
	Baseline *policy.Baseline
}

// Check resolves, fetches and catalogs the image, and evaluates it. On an error it leaves nothing
// on disk. The caller must close the Result.
func (g *Gate) Check(ctx context.Context, src Source, beside ExternalEvidence) (_ *Result, err error) {
	r := &Result{Started: g.opts.Now(), Input: policy.Input{Database: g.opts.Database.Info()}}
	if err := vulndb.CheckAge(r.Input.Database, g.opts.Policies.MaxDatabaseAge(src.Repository()), r.Started); err != nil {
		return nil, err
	}
	archives := filesystem.New()
	r.store, err = layers.New(layers.Options{
		Dir: g.opts.TempDir, Parallel: g.opts.Parallel, MaxTotal: g.opts.MaxDisk,
		Gunzip: g.opts.Gunzip, Index: archives.List, Progress: pulls{g.opts.Progress}})
	if err != nil {
		return nil, err
	}
	archives.Use(r.store)
	defer func() {
		if err == nil {
			return
		}
		if cerr := r.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()

	if r.Image, err = g.resolve(ctx, r.store, src); err != nil {
		return nil, err
	}
	r.Input.VEX, r.Input.Baseline = beside.VEX, beside.Baseline
	r.Input.Attestations, r.Input.Unverified = beside.Attestations, beside.Unverified
	r.Input.Image = policy.Image{Reference: src.String(), Repository: src.Repository(),
		Digest: r.Image.Digest.String(), MediaType: string(r.Image.MediaType), LazyIndexes: r.Image.lazyIndexes()}
	known := make([]*SBOM, len(r.Image.Platforms))
	for i := range known {
		if known[i] = g.loadCached(&r.Image.Platforms[i]); known[i] != nil {
			r.CacheHits++
		}
	}
	if err := g.fetch(ctx, r.store, r.Image, known); err != nil {
		return nil, err
	}
	for i := range r.Image.Platforms {
		sbom := known[i]
		if sbom == nil {
			if sbom, err = g.catalog(ctx, r.store, archives, &r.Image.Platforms[i]); err != nil {
				return nil, err
			}
		}
		r.SBOMs = append(r.SBOMs, sbom)
	}
	archives.Drop()
	// Release the store, and write documents and cache entries, while the matcher runs: it does not
	// use every core.
	var meanwhile errgroup.Group
	meanwhile.SetLimit(g.opts.Parallel)
	defer func() { _ = meanwhile.Wait() }() // an error must not return while they use the store
	meanwhile.Go(r.store.Release)
	for i := range r.Image.Platforms {
		p := &r.Image.Platforms[i]
		if known[i] == nil {
			meanwhile.Go(func() error {
				if err := g.document(p, r.SBOMs[i]); err != nil {
					return err
				}
				r.storing.Go(func() { g.storeCached(p, r.SBOMs[i]) })
				return nil
			})
		}
		evidence, counted, err := g.inspect(ctx, p, r.SBOMs[i])
		if err != nil {
			return nil, err
		}
		r.Input.Database.Advisories = mergeAdvisories(r.Input.Database.Advisories, counted)
		r.Input.Platforms = append(r.Input.Platforms, evidence)
	}
	if err := meanwhile.Wait(); err != nil {
		return nil, err
	}
	if r.Moved, err = g.moved(ctx, r.Image); err != nil {
		return nil, err
	}
	r.Finished, r.Fetched = g.opts.Now(), r.store.Stats()
	if !g.opts.At.IsZero() {
		later := g.opts.At.Sub(r.Finished)
		r.Decision = g.opts.Policies.Evaluate(keptFresh(r.Input, later), g.opts.At)
		r.Input = r.Input.Public()
		return r, nil
	}
	r.Decision = g.opts.Policies.Evaluate(r.Input, r.Finished)
	r.Input = r.Input.Public()
	r.approve(g.opts)
	return r, nil
}

// keptFresh returns the evidence with a database whose times are later by the given duration.
func keptFresh(in policy.Input, by time.Duration) policy.Input {
	shift := func(t time.Time) time.Time {
		if t.IsZero() {
			return t // an unknown time stays unknown
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

// fetch reads every layer of the platforms whose catalog is not in the cache. A layer that several
// platforms share is read once.
func (g *Gate) fetch(ctx context.Context, store *layers.Store, img *Image, known []*SBOM) error {
	var images []v1.Image
	for i, p := range img.Platforms {
		if known[i] == nil {
			images = append(images, p.Image)
		}
	}
	if len(images) == 0 {
		return nil
	}
	done := g.opts.Progress.Start(Pull, img.Digest.String())
	g.warm(ctx)
	err := store.Fetch(ctx, images...)
	done(err)
	if err != nil {
		if img.Source.Transport == Registry {
			return registry.NewError(registry.Staging, "reading the layers of "+img.reference().String(), err)
		}
		return fmt.Errorf("reading the layers of %s: %w", img.Source, err)
	}
	return nil
}

// warm compiles the license patterns in the background while layers download. The catalog compiles
// them itself if needed, and it returns the error if they do not compile.
func (g *Gate) warm(ctx context.Context) {
	go func() { _, _ = withLicenses(ctx, catalogConfig(g.opts.Tool)) }()
}

// catalog generates the SBOM of one platform.
func (g *Gate) catalog(ctx context.Context, store *layers.Store, a *filesystem.Archives, p *Platform) (*SBOM, error) {
	done := g.opts.Progress.Start(Catalog, p.Name)
	sbom, err := g.catalogIn(ctx, store, a, p)
	done(err)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return sbom, nil
}

// catalogIn generates the SBOM with archives unpacked in a folder of this run, see
// Options.UnpackIn.
func (g *Gate) catalogIn(ctx context.Context, store *layers.Store, a *filesystem.Archives, p *Platform) (_ *SBOM, err error) {
	if g.opts.UnpackIn == nil {
		return catalog(ctx, a, p, g.opts.Tool)
	}
	dir, err := store.TempDir("unpack")
	if err != nil {
		return nil, err
	}
	undo, err := g.opts.UnpackIn(dir)
	if err != nil {
		return nil, fmt.Errorf("naming the folder to unpack archives in: %w", err)
	}
	watched, stop := store.Watch(ctx, dir)
	s, err := catalog(watched, a, p, g.opts.Tool)
	// If the watch stopped the catalog, the error of the catalog is only a consequence. The watch
	// error must also replace a nil error: catalogers skip an archive that they cannot unpack.
	if exceeded := stop(); exceeded != nil {
		err = exceeded
	}
	if err = errors.Join(err, undo(), os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	return s, nil
}

// document encodes the SPDX and CycloneDX documents of a platform.
func (g *Gate) document(p *Platform, sbom *SBOM) error {
	if err := sbom.document(p, g.opts.Tool); err != nil {
		return fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return nil
}

// inspect collects the evidence about one cataloged platform. It also returns how many advisories
// the database has for its packages.
func (g *Gate) inspect(ctx context.Context, p *Platform, sbom *SBOM) (policy.Platform, []policy.Advisories, error) {
	done := g.opts.Progress.Start(Scan, p.Name)
	m, err := scan(ctx, g.opts.Database, sbom)
	done(err)
	if err != nil {
		return policy.Platform{}, nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	layers, size, err := layersOf(p.Image)
	if err != nil {
		return policy.Platform{}, nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	config, err := configOf(p.Config)
	if err != nil {
		return policy.Platform{}, nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	base, err := baseOf(p.Image)
	if err != nil {
		return policy.Platform{}, nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return policy.Platform{
		Platform:     p.Name,
		Digest:       p.Digest.String(),
		Distribution: m.distribution,
		Packages:     sbom.Packages,
		Findings:     m.findings,
		Unknowns:     m.unknowns,
		Unmatched:    m.unmatched,
		Suppressed:   m.suppressed,
		Config:       config,
		Size:         size,
		Layers:       layers,
		Base:         base,
	}, m.advisories, nil
}
