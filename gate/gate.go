// Package gate checks an image and returns a policy decision.
//
// [New] and [Gate.Check] are the two functions to call. Check has four steps:
//
//   - resolve: resolve the reference to a digest, once. Later steps use only digests.
//   - catalog: fetch and verify every layer, and list the packages of each platform in an [SBOM],
//     or load the SBOM from the cache.
//   - match: find the vulnerabilities of the packages in the database.
//   - decide: evaluate the evidence against the policies.
//
// A denial is a value in the [Result]. An error means that no decision could be made. Only a pass
// yields an [Approval], and only an Approval can be promoted. [Gate.Recheck] repeats the last two
// steps for a [CatalogedImage], without reading the image.
//
// The zero values are strict: a missing policy or database is an error, the zero Decision is a
// denial, and the zero Approval is invalid.
//
// The package does not write to a registry and does not read the environment. All data that checks
// share, such as the cache, is in a field of [Options].
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagegate/imagegate/gate/cache"
	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/filesystem"
	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Options configure a Gate. Fields without a stated default are required.
type Options struct {
	// Policies are evaluated against the evidence. The image must pass every policy.
	Policies policy.Set
	// Database is the vulnerability database to match against. The caller must close it after the
	// last check.
	Database *vulndb.DB
	// TempDir is the parent of the temporary folders. Each check creates its own folder in it.
	TempDir string
	// Now returns the current time.
	Now func() time.Time
	// Tool describes this build of imagegate. Statements and documents name it as their creator.
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
	// MaxDisk limits the bytes of the fetched and decompressed layers in TempDir. Default: see
	// layers.Options.
	MaxDisk int64
	// At is the time that the policies are evaluated for. With a later time, the decision shows
	// what will block by then, assuming that the database is kept as fresh as it is now. Such a
	// check gives no Approval. Default: now.
	At time.Time
	// Cache stores the SBOMs of checked images, so that a later check does not pull them. Default:
	// no cache.
	Cache *cache.Cache
	// Gunzip is a program that decompresses layers, with its arguments; see layers.Options.
	// Default: decompress in this process.
	Gunzip []string
	// UnpackIn makes libraries unpack archives in dir until undo is called. The libraries read the
	// folder from the environment, which this package does not change itself. If UnpackIn is nil,
	// they use the system's temporary folder, and the files there do not count towards MaxDisk.
	UnpackIn func(dir string) (undo func() error, err error)
	// Patterns are the compiled patterns of the cataloger. Compiling license patterns takes
	// seconds, so the gates of a process should share one value. Default: the gate compiles its
	// own.
	Patterns *catalog.Patterns
	// Progress receives progress events. Default: none.
	Progress Progress
}

// Tool describes a build of imagegate.
type Tool = catalog.Tool

// SBOM is the software bill of materials of one platform's image.
type SBOM = catalog.SBOM

// Gate checks images against a set of policies with one vulnerability database.
type Gate struct {
	opts      Options
	platform  *v1.Platform
	remote    []remote.Option
	cataloger catalog.Cataloger
}

// New validates the options and returns a Gate.
func New(opts Options) (*Gate, error) {
	switch {
	case len(opts.Policies) == 0 || slices.Contains(opts.Policies, nil):
		return nil, errors.New("no policy given: an image can pass only with a policy")
	case opts.Database == nil:
		return nil, errors.New("no vulnerability database given")
	case opts.TempDir == "":
		return nil, errors.New("no temporary directory given")
	case opts.Now == nil:
		return nil, errors.New("no clock given")
	case opts.Tool.Name == "" || opts.Tool.URI == "":
		return nil, errors.New("no name and URI given for the tool")
	}
	g := &Gate{opts: opts}
	if opts.Platform != "" {
		p, err := v1.ParsePlatform(opts.Platform)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf("invalid platform %q: expected os/arch or os/arch/variant", opts.Platform)
		}
		g.platform = p
	}
	if g.opts.Progress == nil {
		g.opts.Progress = NoProgress{}
	}
	if g.opts.Patterns == nil {
		g.opts.Patterns = &catalog.Patterns{}
	}
	g.cataloger = catalog.Cataloger{Tool: opts.Tool, Patterns: g.opts.Patterns, Texts: catalog.NewLicenseTexts(g.opts.Patterns, g.loadTexts)}
	if g.opts.Parallel == 0 {
		g.opts.Parallel = min(runtime.GOMAXPROCS(0), 8)
	}
	// go-containerregistry's puller downloads at most Jobs blobs at the same time. Two more jobs
	// than concurrent layers ensure that stalled layers do not block the config of the next image.
	g.remote = registry.Options{Keychain: opts.Keychain, Transport: opts.Transport,
		UserAgent: opts.Tool.Name + "/" + opts.Tool.Version, Jobs: g.opts.Parallel + 2}.Remote()
	return g, nil
}

// Result is the outcome of a check. It keeps the fetched layers on disk until Close.
type Result struct {
	Evaluation
	Image *Image
	// Catalog is the input of the last two steps, see [Gate.Recheck]. It has an entry for each
	// platform, in the order of Image.Platforms.
	Catalog *CatalogedImage
	// SBOMs are the SBOMs in Catalog.
	SBOMs []*SBOM
	// Moved is the digest that the tag points to after the check, if a push during the check moved
	// the tag. It is reported and never used. It is "nothing" if the tag was deleted, and empty if
	// the tag still points to the checked digest.
	Moved string
	// Approval is set only if the decision is a pass. For a denied image, see [Result.Override].
	Approval *Approval
	// Fetched counts the bytes and blobs that were read from the registry or archive.
	Fetched layers.Stats
	// CacheHits is the number of platforms whose catalog came from the cache.
	CacheHits int

	store       *layers.Store
	cacheWrites sync.WaitGroup // pending writes to the cache; Close waits for them
	// basis is the Approval that a pass or an override returns. approve creates it before a caller
	// can change the exported fields. basis is nil if the policies were evaluated for a later time.
	basis *Approval
	now   func() time.Time
}

// Close removes everything that the check left on disk. After that, the Approval of this Result can
// no longer be promoted.
func (r *Result) Close() error {
	r.cacheWrites.Wait()
	return r.store.Close()
}

// ExternalEvidence is evidence that is not in the image itself. The policies decide how it counts.
// The zero value means none.
type ExternalEvidence struct {
	// VEX has the VEX statements about the image.
	VEX []evidence.VEXStatement
	// Attestations are the image's attestations in the staging registry with a signature of a
	// trusted signer. Unverified is the number of its other attestations there.
	Attestations []evidence.Attestation
	Unverified   int
	// Baseline is the evidence of the image that is currently approved.
	Baseline *evidence.Baseline
}

// Check resolves, fetches and catalogs the image, and evaluates it. After an error nothing is left
// on disk. The caller must close the Result.
func (g *Gate) Check(ctx context.Context, src Source, external ExternalEvidence) (_ *Result, err error) {
	started := g.opts.Now()
	if err := g.checkDatabase(src.Repository(), started); err != nil {
		return nil, err
	}
	archives := filesystem.New()
	store, err := g.newStore(src, archives)
	if err != nil {
		return nil, err
	}
	r := &Result{store: store, now: g.opts.Now}
	defer func() {
		if err == nil {
			return
		}
		if cerr := r.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	if r.Image, err = g.resolve(ctx, store, src); err != nil {
		return nil, err
	}
	if r.Catalog, r.CacheHits, err = g.catalog(ctx, store, archives, r.Image); err != nil {
		return nil, err
	}
	r.SBOMs = r.Catalog.sboms()
	finish := g.finishInBackground(ctx, r, archives)
	input, err := g.match(ctx, r.Catalog, external, r.cacheWrites.Go)
	if ferr := finish(); err == nil {
		err = ferr
	}
	if err != nil {
		return nil, err
	}
	if r.Moved, err = g.moved(ctx, r.Image); err != nil {
		return nil, err
	}
	r.Fetched = store.Stats()
	r.Evaluation = g.decide(input, started)
	r.approve(g.opts)
	return r, nil
}

// newStore returns an empty store for the layers of src. archives lists the files of the layers
// while the store fetches them.
func (g *Gate) newStore(src Source, archives *filesystem.Archives) (*layers.Store, error) {
	opts := layers.Options{
		Dir: g.opts.TempDir, Parallel: g.opts.Parallel, MaxTotal: g.opts.MaxDisk,
		Gunzip: g.opts.Gunzip, Index: archives.List, Progress: pulls{g.opts.Progress, Step{Image: src.String(), Stage: Pull}}}
	// On Windows, an open file cannot be removed, and Remember keeps layers open.
	if g.opts.Cache.Usable() && g.opts.Tool.Build != "" && runtime.GOOS != "windows" {
		opts.Memory, opts.Notes = g.opts.Cache.Private(layers.MaxEntry), archives.Notes(g.cataloger.Key(v1.Hash{}))
	}
	store, err := layers.New(opts)
	if err != nil {
		return nil, err
	}
	archives.Use(store)
	return store, nil
}

// finishInBackground removes the decompressed layers and the file lists, and encodes documents and
// cache entries in the background. Meanwhile the matcher runs, which does not use every core. The
// caller must call wait, even after an error. Cache entries may still be written after wait returns,
// until the Result is closed.
func (g *Gate) finishInBackground(ctx context.Context, r *Result, archives *filesystem.Archives) (wait func() error) {
	save := r.store.Remember(ctx)
	archives.Drop()
	// The cache removes its oldest entries first, and an SBOM is worth more than the parts of layers. So
	// SBOMs are stored after them.
	saved := make(chan struct{})
	r.cacheWrites.Go(func() {
		defer close(saved)
		save()
	})
	var group errgroup.Group
	group.Go(r.store.Release)
	group.Go(func() error {
		for i, c := range r.Catalog.Platforms {
			if c.cached {
				continue
			}
			if err := g.cataloger.Document(c.SBOM, r.Image.Platforms[i].Config.Created.Time); err != nil {
				return fmt.Errorf("platform %s: %w", c.Platform.Platform, err)
			}
			r.cacheWrites.Go(func() {
				<-saved
				g.storeCached(c.SBOM)
			})
		}
		r.cacheWrites.Go(g.storeTexts)
		return nil
	})
	return group.Wait
}
