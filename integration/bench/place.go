package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/lab"
)

// place is the environment for measuring one image: registries, a database, a key, policies and the
// measured programs.
type place struct {
	bin  string // the folder with imagegate and the programs to compare it with
	work string // the folder with the files that are kept for the next run
	dir  string // the folder with all files of this run; Close removes it

	image   *built
	digest  v1.Hash
	blobs   map[string]int64 // the sizes of the image's blobs, by digest
	size    int64            // the total size of these blobs
	archive string           // the archive with the vulnerability database

	round   int   // the number of the current round, from 0
	state   state // the state that the last subject left behind
	rebuilt rebuilt
	// staging contains the image. approved is a new, empty registry for each first promotion.
	staging, approved *lab.Registry
}

// These are the policies of the runs. The image has many high findings and no critical ones, so
// lenient passes the image and strict denies it.
const (
	lenient = "version: 1\nrules:\n  - {name: no critical, severity: critical}\n" + rest
	strict  = "version: 1\nrules:\n  - {name: no high, severity: high}\n" + rest
	// rest is the end of both policies. It disables checks that the generated image would fail, and
	// checks that are not measured.
	rest = "database: {maxAge: 3650d}\ndistribution: {notCovered: warn, endOfLife: warn}\nsbom: {unknowns: warn}\n"
)

// openPlace prepares the environment for the measurements. The preparation is not measured.
func openPlace(ctx context.Context, bin, work string, b *built, findings int) (_ *place, err error) {
	p := &place{bin: bin, work: work, image: b}
	if p.dir, err = os.MkdirTemp(work, "run-*"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, dir := range []string{"home", "tmp", "none"} {
		if err := os.Mkdir(filepath.Join(p.dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"lenient.yaml": lenient, "strict.yaml": strict} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := p.measureBlobs(); err != nil {
		return nil, err
	}
	if p.staging, err = lab.StartRegistry(lab.Options{Dir: filepath.Join(p.dir, "staging")}); err != nil {
		return nil, err
	}
	if _, err := p.staging.Push(ctx, "team/app:1", b.image); err != nil {
		return nil, err
	}
	if err := p.database(ctx, findings); err != nil {
		return nil, fmt.Errorf("making the vulnerability database: %w", err)
	}
	if _, err := p.start(ctx, process{name: p.program("imagegate"), args: []string{"key", "generate", filepath.Join(p.dir, "cosign")}}); err != nil {
		return nil, err
	}
	return p, p.reset()
}

// measureBlobs sets the fields of p with the digest of the image and the sizes of its blobs.
func (p *place) measureBlobs() error {
	manifest, err := p.image.image.Manifest()
	if err != nil {
		return err
	}
	if p.digest, err = p.image.image.Digest(); err != nil {
		return err
	}
	p.blobs = map[string]int64{}
	for _, d := range append(manifest.Layers, manifest.Config) {
		p.blobs[d.Digest.String()] = d.Size
		p.size += d.Size
	}
	return nil
}

// Close stops the registries and removes all files of the run.
func (p *place) Close() error {
	var errs []error
	for _, r := range []*lab.Registry{p.staging, p.approved} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

func (p *place) program(name string) string { return filepath.Join(p.bin, name) }

// environment returns the environment variables for the measured programs. They limit the programs
// to files in the folder of p, without network access.
func (p *place) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(p.dir, "home"), "TMPDIR=" + filepath.Join(p.dir, "tmp"),
		"COSIGN_PASSWORD=bench", "IMAGEGATE_CACHE_DIR=" + filepath.Join(p.dir, "cache"),
		"GRYPE_DB_CACHE_DIR=" + filepath.Join(p.dir, "grype"), "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false", "SYFT_CHECK_FOR_APP_UPDATE=false",
	}
}

// state describes the content of the scan cache and of the approved registry.
type state int

const (
	anyState      state = iota // for a subject that neither needs nor changes a state
	otherState                 // content that no subject needs
	emptyState                 // nothing
	checkedState               // the scan cache knows the image
	promotedState              // the scan cache knows the image, and the approved registry has it
)

// prepare establishes a state, unless the previous subject left it behind.
func (p *place) prepare(ctx context.Context, want state) error {
	if p.state == want {
		return nil
	}
	err := p.reset()
	if err != nil {
		return err
	}
	switch want {
	case checkedState:
		_, err = p.check(ctx, "app:1")
	case promotedState:
		_, err = p.promote(ctx, "app:1")
	}
	return err
}

// reset establishes emptyState, with all counters at zero.
func (p *place) reset() error {
	if p.approved != nil {
		if err := p.approved.Close(); err != nil {
			return err
		}
	}
	dir := filepath.Join(p.dir, "approved")
	if err := errors.Join(os.RemoveAll(dir), p.emptyCache()); err != nil {
		return err
	}
	var err error
	if p.approved, err = lab.StartRegistry(lab.Options{Dir: dir}); err != nil {
		return err
	}
	p.staging.ResetRequests()
	p.state = emptyState
	return nil
}

// emptyCache removes everything except the vulnerability database from imagegate's cache.
func (p *place) emptyCache() error {
	cache := filepath.Join(p.dir, "cache")
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "db" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(cache, e.Name())))
		}
	}
	return err
}

// count sets the fields of s with the bytes that the registries have transferred since the last
// call of count or reset.
func (p *place) count(s *Sample) {
	s.Read = p.staging.BlobBytesServed()
	uploads := map[string]int64{}
	for _, r := range p.approved.Requests() {
		if r.Method == http.MethodPost || r.Method == http.MethodPatch || r.Method == http.MethodPut {
			uploads[r.Path] += r.BytesIn
			s.Written += r.BytesIn
		}
	}
	// Only the request that completes an upload contains the digest of the blob.
	for _, r := range p.approved.Requests() {
		if r.Method != http.MethodPut || !strings.Contains(path.Dir(r.Path), "/blobs/uploads") {
			continue
		}
		for digest := range p.blobs {
			if strings.Contains(r.Query, strings.Replace(digest, ":", "%3A", 1)) || strings.Contains(r.Query, digest) {
				s.WrittenImage += uploads[r.Path]
			}
		}
	}
	p.staging.ResetRequests()
	p.approved.ResetRequests()
}
