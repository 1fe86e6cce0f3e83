package corpus

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// excluded are the paths that images do not contain: package lists and archives, and documentation,
// as in Debian's slim images.
var excluded = []string{"dev/", "proc/", "sys/", "run/", "tmp/", "var/tmp/", "var/cache/apt/", "var/lib/apt/lists/",
	"var/log/", "var/cache/debconf/", "var/cache/ldconfig/", "usr/share/man/", "usr/share/locale/", "usr/share/info/"}

// isExcluded reports whether images do not contain the path. They contain the excluded folders, but
// empty.
func isExcluded(name string) bool {
	if slices.ContainsFunc(excluded, func(prefix string) bool { return strings.HasPrefix(name, prefix) && name != prefix }) {
		return true
	}
	base := path.Base(name)
	return strings.HasPrefix(name, "usr/share/doc/") && (strings.HasPrefix(base, "changelog") || strings.HasPrefix(base, "NEWS"))
}

// base returns the path of the archive of a minimal Debian system. The archive keeps apt's package
// lists, which later installations need.
func (s *store) base() string {
	s.Helper()
	archive := filepath.Join(s.dir, "trees", s.suite+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive
	}
	s.mmdebstrap(archive, "--variant=minbase", "--include=ca-certificates", "--skip=cleanup/apt/lists",
		`--aptopt=APT::Install-Recommends "false"`, `--aptopt=Acquire::Languages "none"`, s.suite)
	return archive
}

// install is a shell script that installs packages without starting services. mmdebstrap runs it
// with the folder of the file tree as $1.
const install = `export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d" &&
chroot "$1" apt-get -qq update &&
chroot "$1" apt-get -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io install -y --no-install-recommends %s >/dev/null &&
chroot "$1" apt-get clean && rm "$1/usr/sbin/policy-rc.d"`

// tree returns the path of the archive of the base with the packages installed. The caller must
// remove the archive.
func (s *store) tree(packages []string) string {
	s.Helper()
	archive := filepath.Join(s.dir, "trees", s.key(packages)+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive // the archive is left over from an interrupted run
	}
	s.mmdebstrap(archive, "--variant=custom", "--skip=update,setup,cleanup,tar-in/mknod", "--setup-hook=tar-in "+s.base()+" /",
		"--customize-hook="+fmt.Sprintf(install, strings.Join(packages, " ")), "")
	return archive
}

// mmdebstrap runs the mmdebstrap command, which writes the archive. args include the suite.
func (s *store) mmdebstrap(archive string, args ...string) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		s.Fatal(err)
	}
	unfinished := strings.TrimSuffix(archive, ".tar") + ".new.tar"
	cmd := exec.CommandContext(s.Context(), "nice", append([]string{"mmdebstrap", "--quiet"}, append(args, unfinished)...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", created.Unix()))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		s.Fatalf("running mmdebstrap %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	if err := os.Rename(unfinished, archive); err != nil {
		s.Fatal(err)
	}
}

// eachEntry calls f for each entry of an archive that is not excluded, with a clean relative name.
func eachEntry(ctx context.Context, archive string, f func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	for entries := tar.NewReader(bufio.NewReaderSize(file, 1<<20)); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", archive, err)
		}
		h.Name = strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeLink {
			h.Linkname = strings.TrimPrefix(h.Linkname, "./")
		}
		if h.Name == "" || isExcluded(h.Name) {
			continue
		}
		h.PAXRecords, h.Xattrs = nil, nil //nolint:staticcheck // the deprecated field must be cleared, too
		if err := f(h, entries); err != nil {
			return err
		}
	}
}

// contents maps the name of each entry of an archive to a digest of its attributes and content.
func contents(ctx context.Context, archive string) (map[string]string, error) {
	out := map[string]string{}
	return out, eachEntry(ctx, archive, func(h *tar.Header, r io.Reader) error {
		sum := sha256.New()
		fmt.Fprintf(sum, "%c %o %d %d %s %d %d ", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, h.Devmajor, h.Devminor)
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		out[h.Name] = string(sum.Sum(nil))
		return nil
	})
}

// baseLayer writes all entries of the base.
func (s *store) baseLayer(w *layerWriter) error {
	return eachEntry(s.Context(), s.base(), w.addFromTree)
}

// addFromTree writes an entry of the archive into the layer. If the entry is dpkg's status file, it
// also stores the content in w.
func (w *layerWriter) addFromTree(h *tar.Header, r io.Reader) error {
	if h.Name == "var/lib/dpkg/status" {
		var status bytes.Buffer
		r = io.TeeReader(r, &status)
		defer func() { w.status, w.statusAt = status.String(), h.Name }()
	}
	return w.add(h, r)
}

// debianLayer returns a function that writes a layer with installed packages: the entries that the
// installation adds, changes or removes, compared with the base.
func (s *store) debianLayer(packages []string) func(*layerWriter) error {
	return func(w *layerWriter) error {
		tree := s.tree(packages)
		defer os.Remove(tree)
		below, err := contents(s.Context(), s.base())
		if err != nil {
			return err
		}
		above, err := contents(s.Context(), tree)
		if err != nil {
			return err
		}
		changed, err := changes(s.Context(), tree, below, above)
		if err != nil {
			return err
		}
		err = eachEntry(s.Context(), tree, func(h *tar.Header, r io.Reader) error {
			if !changed[h.Name] {
				return nil
			}
			return w.addFromTree(h, r)
		})
		if err != nil {
			return err
		}
		return w.whiteouts(below, above)
	}
}

// changes returns the entries of the tree that differ from the lower layers. If one name of a
// hard-linked file changes, all of its names are included, because a hard link cannot point into
// another layer.
func changes(ctx context.Context, tree string, below, above map[string]string) (map[string]bool, error) {
	changed := map[string]bool{}
	for name, sum := range above {
		changed[name] = below[name] != sum
	}
	links := map[string][]string{}
	err := eachEntry(ctx, tree, func(h *tar.Header, _ io.Reader) error {
		if h.Typeflag == tar.TypeLink {
			links[h.Linkname] = append(links[h.Linkname], h.Name)
		}
		return nil
	})
	for target, names := range links {
		all := append(names, target)
		if slices.ContainsFunc(all, func(n string) bool { return changed[n] }) {
			for _, n := range all {
				changed[n] = true
			}
		}
	}
	for name := range above {
		if changed[name] {
			for dir := path.Dir(strings.TrimSuffix(name, "/")); dir != "."; dir = path.Dir(dir) {
				changed[dir+"/"] = true
			}
		}
	}
	return changed, err
}

// whiteouts writes whiteouts for the entries of the lower layers that the new layer deletes.
func (w *layerWriter) whiteouts(below, above map[string]string) error {
	gone := map[string]bool{}
	for name := range below {
		if _, ok := above[name]; !ok {
			gone[strings.TrimSuffix(name, "/")] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		dir, base := path.Split(name)
		if gone[strings.TrimSuffix(dir, "/")] {
			continue // the whiteout of a parent folder also removes this entry
		}
		if err := w.add(&tar.Header{Typeflag: tar.TypeReg, Name: dir + ".wh." + base, Mode: 0o644}, nil); err != nil {
			return err
		}
	}
	return nil
}
