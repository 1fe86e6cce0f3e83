package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imagegate/imagegate/internal/lab"
)

// large is the number of records in the large database. The public database has about as many.
const large = 600_000

// database imports the vulnerability database of the image into imagegate and grype. If Trivy is
// built, Trivy gets a database with the same records.
func (p *place) database(ctx context.Context, findings int) error {
	name := fmt.Sprintf("database-%d-%d", findings, unrelated)
	p.archive = filepath.Join(p.image.dir, name+".tar.zst")
	all := func() []record { return records(p.image.Sources, p.image.Modules, findings) }
	if err := p.keep(p.archive, all, func(from, to string) error {
		_, err := p.start(ctx, process{name: p.program("imagegate"), args: []string{"db", "build", from, "--to", to}})
		return err
	}); err != nil {
		return err
	}
	for _, program := range []string{"imagegate", "grype"} {
		if _, err := p.start(ctx, process{name: p.program(program), args: []string{"db", "import", p.archive}}); err != nil {
			return err
		}
	}
	if unbuilt(p.bin, "trivy", "trivy-database") != "" {
		return nil
	}
	trivy := filepath.Join(p.image.dir, name+"-trivy")
	if err := p.keep(trivy, all, func(from, to string) error {
		_, err := p.start(ctx, process{name: p.program("trivy-database"), args: []string{from, to}})
		return err
	}); err != nil {
		return err
	}
	if err := os.Mkdir(p.trivyCache(), 0o700); err != nil {
		return err
	}
	return os.Symlink(filepath.Join(trivy, "db"), filepath.Join(p.trivyCache(), "db"))
}

// keep makes the database to with build, from a folder with the records, unless an earlier run has
// made it. build writes to a temporary path, so that an interrupted run leaves no partial database.
func (p *place) keep(to string, all func() []record, build func(from, to string) error) error {
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fmt.Fprintf(os.Stderr, "bench: making %s; it is kept for the next time\n", filepath.Base(to))
	from := filepath.Join(p.dir, "records")
	if err := writeRecords(from, all()); err != nil {
		return err
	}
	made := filepath.Join(p.dir, filepath.Base(to))
	if err := build(from, made); err != nil {
		return err
	}
	return errors.Join(os.Rename(made, to), os.RemoveAll(from))
}

// checkTiny checks an image with one package, which imagegate already knows. Most of the time is for
// starting the program and for opening the database.
func (p *place) checkTiny(ctx context.Context) (*Sample, error) {
	return p.tiny(ctx, "tiny", p.archive)
}

// checkTinyLarge runs checkTiny with the large database.
func (p *place) checkTinyLarge(ctx context.Context) (*Sample, error) {
	archive := filepath.Join(p.work, fmt.Sprintf("database-%d.tar.zst", large))
	err := p.keep(archive, func() []record { return unrelatedRecords(nil, large) }, func(from, to string) error {
		_, err := p.start(ctx, process{name: p.program("imagegate"), args: []string{"db", "build", from, "--to", to}})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making the large database: %w", err)
	}
	return p.tiny(ctx, "tiny-large", archive)
}

// tiny checks the tiny image with a cache folder of its own, which has the database in archive. The
// first call prepares the folder.
func (p *place) tiny(ctx context.Context, cache, archive string) (*Sample, error) {
	cache = filepath.Join(p.dir, cache)
	env := []string{"IMAGEGATE_CACHE_DIR=" + cache}
	check := process{env: env, args: []string{"check", p.staging.Ref("team/tiny:1"), "--policy", "lenient.yaml"}}
	if _, err := os.Stat(cache); errors.Is(err, os.ErrNotExist) {
		img, err := lab.Image(lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "tiny", Version: "1.0-1", License: "MIT"}}})
		if err != nil {
			return nil, err
		}
		if _, err := p.staging.Push(ctx, "team/tiny:1", img); err != nil {
			return nil, err
		}
		if _, err := p.start(ctx, process{name: p.program("imagegate"), env: env, args: []string{"db", "import", archive}}); err != nil {
			return nil, err
		}
		if _, err := p.gate(ctx, check); err != nil {
			return nil, err
		}
	}
	return p.gate(ctx, check)
}
