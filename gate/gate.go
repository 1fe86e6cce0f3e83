// Package gate leads from a reference to a Decision.
//
// The path through it is [Gate.Check]: resolve the reference once to a digest,
// fetch and verify every layer, catalog each platform, match its packages
// against the vulnerability database, and have the policy judge all of it. A
// denial is a value in the Result; an error means that no decision could be
// made. Only a pass yields an [Approval], and nothing else can be promoted.
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

// Options are what a Gate works with. Those without a stated default must be
// set.
type Options struct {
	// Policies judge the evidence; the image must pass every one.
	Policies policy.Set
	// Database is matched against. It stays the caller's to close.
	Database *vulndb.DB
	// TempDir is the folder in which each run makes one of its own.
	TempDir string
	// Now tells the time.
	Now func() time.Time
	// Tool is what statements and documents name as their maker.
	Tool Tool

	// Platform, such as "linux/arm64", narrows an index to one image. Empty
	// means all of them.
	Platform string
	// Keychain and Transport reach the staging registry. Nil means no
	// credentials and http.DefaultTransport.
	Keychain  authn.Keychain
	Transport http.RoundTripper
	// Parallel bounds how many layers are processed at once; 0 means one for
	// each core, at most 8.
	Parallel int
	// MaxDisk bounds the bytes in TempDir, fetched and inflated; 0 means
	// the default of layers.Options.
	MaxDisk int64
	// At judges as of a later instant: what will block by then, if nothing but
	// time goes by and the database is kept as fresh as it is. Zero means now.
	// Such a check gives no Approval.
	At time.Time
	// Cache keeps what was cataloged, so that an image that was checked before is
	// judged anew without being pulled. Nil keeps nothing.
	Cache *cache.Cache
	// Gunzip is a program that inflates layers, and its arguments; see
	// layers.Options. Empty means to run none.
	Gunzip []string
	// UnpackIn is told in which folder libraries must unpack archives, and returns
	// a function that undoes that. Libraries take the folder from the environment,
	// which this package does not touch. Nil leaves them the system's temporary
	// folder, and what they write there does not count towards MaxDisk.
	UnpackIn func(dir string) (undo func() error, err error)
	// Progress is told what happens. Nil means nobody.
	Progress Progress
}

// Tool identifies a build of this program.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// URI is the identity that statements carry as verifier and scanner.
	URI string `json:"uri"`
	// Components are the versions of what it decides and signs with: syft,
	// grype and cosign, by name.
	Components map[string]string `json:"components"`
	// Build tells builds of the same version apart. What another one has put
	// into a cache is not used.
	Build string `json:"-"`
}

// Gate checks images against one policy and one database.
type Gate struct {
	opts     Options
	platform *v1.Platform
	remote   []remote.Option
}

// New validates the options.
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
	// A puller hands out as many blobs at a time as it has jobs, and a stalled
	// layer must never keep the config of the next image waiting.
	g.remote = registry.Options{Keychain: opts.Keychain, Transport: opts.Transport,
		UserAgent: opts.Tool.Name + "/" + opts.Tool.Version, Jobs: g.opts.Parallel + 2}.Remote()
	return g, nil
}

// Result is what a check found. It holds the fetched layers on disk until it
// is closed.
type Result struct {
	Image *Image
	// Input is the evidence that was judged, without values that look like
	// credentials.
	Input    policy.Input
	Decision policy.Decision
	// SBOMs has one for each platform, in the order of Image.Platforms.
	SBOMs []*SBOM
	// Moved is what the reference names now, if that is another digest than
	// the one that was checked: a push came in between. It is reported, never
	// followed. "nothing" means that the tag is gone.
	Moved string
	// Approval is nil unless the decision is a pass; see also [Result.Override].
	Approval *Approval
	// Started and Finished enclose the run.
	Started, Finished time.Time
	// Fetched counts what was read from the source.
	Fetched layers.Stats
	// Recalled is how many of the platforms were cataloged by an earlier run.
	Recalled int

	store   *layers.Store
	keeping sync.WaitGroup // puts catalogs into the cache, while the decision is carried out
	// judged is what an Approval would be, taken down before anybody could change
	// the fields above; nil where the gate judged as of a later instant.
	judged *Approval
	now    func() time.Time
}

// Close removes everything that the check left on disk. An Approval of a
// closed Result can no longer be promoted.
func (r *Result) Close() error {
	r.keeping.Wait()
	return r.store.Close()
}

// Beside is evidence that is not in the image itself. The policies say what it
// is worth; the zero value is none.
type Beside struct {
	// VEX is what was said about which vulnerabilities do not matter.
	VEX []policy.VEXStatement
	// Attestations are what was signed about the image where it is staged, and
	// Unverified how much more there is that verifies for nobody.
	Attestations []policy.Attestation
	Unverified   int
	// Baseline is what the image has that is approved now.
	Baseline *policy.Baseline
}

// Check resolves, reads and judges the image. On an error nothing stays on
// disk; a Result must be closed.
func (g *Gate) Check(ctx context.Context, src Source, beside Beside) (_ *Result, err error) {
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
		if known[i] = g.recall(&r.Image.Platforms[i]); known[i] != nil {
			r.Recalled++
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
	// Matching leaves a core to what would have to be waited for otherwise.
	var meanwhile errgroup.Group
	meanwhile.SetLimit(g.opts.Parallel)
	defer func() { _ = meanwhile.Wait() }() // an error ends the run only after what uses the store
	meanwhile.Go(r.store.Release)
	for i := range r.Image.Platforms {
		p := &r.Image.Platforms[i]
		if known[i] == nil {
			meanwhile.Go(func() error {
				if err := g.document(p, r.SBOMs[i]); err != nil {
					return err
				}
				r.keeping.Go(func() { g.remember(p, r.SBOMs[i]) })
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

// keptFresh is the same evidence with a database that is that much younger.
func keptFresh(in policy.Input, by time.Duration) policy.Input {
	shift := func(t time.Time) time.Time {
		if t.IsZero() {
			return t // unknown stays unknown
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

// fetch reads every layer of the platforms that are still to be cataloged, each
// once.
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
			return NewRegistryError(Staging, "reading the layers of "+img.reference().String(), err)
		}
		return fmt.Errorf("reading the layers of %s: %w", img.Source, err)
	}
	return nil
}

// warm compiles the patterns of licences, unless that was done, beside what leaves
// a core to it. Whatever goes wrong, the catalog will be told.
func (g *Gate) warm(ctx context.Context) {
	go func() { _, _ = withLicenses(ctx, catalogConfig(g.opts.Tool)) }()
}

// catalog finds out what is on one platform.
func (g *Gate) catalog(ctx context.Context, store *layers.Store, a *filesystem.Archives, p *Platform) (*SBOM, error) {
	done := g.opts.Progress.Start(Catalog, p.Name)
	sbom, err := g.catalogIn(ctx, store, a, p)
	done(err)
	if err != nil {
		return nil, fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return sbom, nil
}

// catalogIn catalogs with archives unpacked in the run's own folder.
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
	// An error of the catalog is then only what follows from that of the watch. No error would be
	// worse: catalogers pass over an archive that they could not unpack.
	if exceeded := stop(); exceeded != nil {
		err = exceeded
	}
	if err = errors.Join(err, undo(), os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	return s, nil
}

// document writes the documents about a platform.
func (g *Gate) document(p *Platform, sbom *SBOM) error {
	if err := sbom.document(p, g.opts.Tool); err != nil {
		return fmt.Errorf("platform %s: %w", p.Name, err)
	}
	return nil
}

// inspect gathers the evidence about one platform that is cataloged, and how much the
// database has for it.
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
		Uncovered:    m.uncovered,
		Suppressed:   m.suppressed,
		Config:       config,
		Size:         size,
		Layers:       layers,
		Base:         base,
	}, m.advisories, nil
}
