package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/imagegate/imagegate/internal/lab"
)

// debianLayer creates a root file system with mmdebstrap, and returns the path of its archive. If
// mmdebstrap is not installed, it returns no path, and generate creates Debian packages instead.
func (b *built) debianLayer(ctx context.Context, dir string, r recipe) ([]string, error) {
	if missing := lacks("mmdebstrap"); missing != "" {
		b.Generated = true
		fmt.Fprintf(os.Stderr, "bench: %s: the image is generated, and is no Debian\n", missing)
		return nil, nil
	}
	archive := filepath.Join(dir, "debian.tar")
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=minbase", `--aptopt=APT::Install-Recommends "false"`,
		"--architectures=amd64", "--include="+strings.Join(r.debian, ","), suite, archive)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running mmdebstrap: %w", err)
	}
	return []string{archive}, b.readStatus(archive)
}

// readStatus reads dpkg's status file in the archive, and counts the installed packages.
func (b *built) readStatus(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	for entries := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s has no list of Debian packages", archive)
		}
		if err != nil {
			return err
		}
		if path.Clean(header.Name) == "var/lib/dpkg/status" {
			status, err := io.ReadAll(entries)
			b.countSources(string(status))
			return err
		}
	}
}

// countSources counts, for each source package, its installed packages in dpkg's status file.
func (b *built) countSources(status string) {
	for paragraph := range strings.SplitSeq(status, "\n\n") {
		var name, source string
		for line := range strings.SplitSeq(paragraph, "\n") {
			if v, ok := strings.CutPrefix(line, "Package: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "Source: "); ok {
				source, _, _ = strings.Cut(v, " ")
			}
		}
		if source == "" {
			source = name
		}
		if source != "" {
			b.Sources[source]++
		}
	}
}

// generate returns the description of the image's other layers, with generated npm modules. If
// mmdebstrap is not installed, they also contain a distribution, Debian packages and text files.
func (b *built) generate(r recipe) lab.ImageSpec {
	var spec lab.ImageSpec
	for i := range max(r.generated/10, 1) {
		name := fmt.Sprintf("module-%d", i)
		b.Modules = append(b.Modules, name)
		spec.NPM = append(spec.NPM, lab.NPM{Name: name, Version: fmt.Sprintf("1.0.%d", i), License: "MIT"})
	}
	if !b.Generated {
		return spec
	}
	spec.OSRelease = "debian 12"
	text := words(rand.New(rand.NewPCG(1, 2)), 8<<20) // #nosec G404 -- the text must be the same on each run
	var docs []lab.File
	for i := range r.generated {
		name := fmt.Sprintf("library-%d", i)
		b.Sources[name] = 1
		spec.DebPackages = append(spec.DebPackages, lab.Deb{Name: name, Version: fmt.Sprintf("1.%d-1", i), License: "GPL-2+"})
		for j := range 4 {
			from := (i*7919 + j*104729) * 64 % (len(text) - 64<<10)
			docs = append(docs, lab.File{Path: fmt.Sprintf("usr/share/%s/%d.txt", name, j), Content: text[from : from+64<<10]})
		}
	}
	spec.Layers = [][]lab.File{docs[:len(docs)/2], docs[len(docs)/2:]}
	return spec
}

// words returns random text that compresses about as well as source code.
func words(r *rand.Rand, size int) string {
	vocabulary := strings.Fields("return error context func string value length buffer reader writer package import const type struct " +
		"interface range switch case default break continue select channel map slice append copy delete close panic recover defer")
	var s strings.Builder
	for s.Len() < size {
		s.WriteString(vocabulary[r.IntN(len(vocabulary))])
		s.WriteByte("_. (){};"[r.IntN(8)])
		if r.IntN(10) == 0 {
			s.WriteByte('\n')
		}
	}
	return s.String()
}
