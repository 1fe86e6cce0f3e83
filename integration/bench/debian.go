package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
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
