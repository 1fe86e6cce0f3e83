package gate

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/mikelolasagasti/xz"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/internal/registry"
)

// maxDictionary is the largest dictionary, in bytes, that the xz decompressor accepts, because it
// keeps the dictionary in memory. The highest level of the xz command uses half as much.
const maxDictionary = 128 << 20

// archive reads a tar file that may be compressed. It does not limit the size of the decompressed
// content: the caller must count the bytes.
type archive struct {
	io.Reader
	file *os.File
	done func()
	// packed is true if the file is compressed.
	packed bool
}

// openArchive opens an archive that is plain or compressed with gzip, bzip2, xz or zstd. docker
// load, podman and skopeo accept the same formats. openArchive detects the format from the content
// of the file, not from its name.
func openArchive(ctx context.Context, file string) (*archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	a := &archive{file: f, done: func() {}}
	in := bufio.NewReaderSize(cancelable{ctx, f}, 1<<20)
	magic, err := in.Peek(6)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
	case bytes.HasPrefix(magic, []byte("BZh")):
		a.Reader, err = bzip2.NewReader(in), nil
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		a.Reader, err = xz.NewReader(in, maxDictionary)
	default:
		a.Reader, a.done, err = layers.Decompressor(in)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a.packed = a.Reader != io.Reader(in)
	return a, nil
}

// Close stops the decompressor and closes the file.
func (a *archive) Close() error {
	a.done()
	return a.file.Close()
}

// cancelable is a reader that returns an error after its context has ended.
type cancelable struct {
	ctx context.Context
	r   io.Reader
}

// Read returns the error of the context if the context has ended. Otherwise it reads from r.
func (c cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// archiveMember matches the names of the files that imagegate extracts from an OCI archive. All
// other files in the archive are ignored.
var archiveMember = regexp.MustCompile(`^(\./)?(oci-layout|index\.json|blobs/[a-z0-9]+/[a-f0-9]{64,128})$`)

// unpackArchive extracts the members of an OCI archive into a folder of this run, as an OCI layout.
// It does not verify digests, because they are verified when the blobs are read.
func unpackArchive(ctx context.Context, store *layers.Store, file string) (_ string, err error) {
	in, err := openArchive(ctx, file)
	if err != nil {
		return "", fmt.Errorf("opening OCI archive %q: %w", file, err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	dir, err := store.TempDir("archive")
	if err != nil {
		return "", err
	}
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return dir, nil
		}
		if err != nil {
			return "", inputError(isNotArchive(err), fmt.Errorf("reading OCI archive %q as a tar file: %w", file, err))
		}
		if h.Typeflag != tar.TypeReg || !archiveMember.MatchString(h.Name) {
			continue
		}
		member := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(h.Name, "./")))
		if err := os.MkdirAll(filepath.Dir(member), 0o700); err != nil {
			return "", err
		}
		if err := store.WriteFile(member, tr); err != nil {
			return "", fmt.Errorf("unpacking OCI archive %q: %w", file, err)
		}
	}
}

// openDockerArchive opens one image in an archive that "docker save" wrote. If the archive is
// compressed, openDockerArchive first decompresses it into a folder of this run, because
// go-containerregistry reads the layers in any order.
func openDockerArchive(ctx context.Context, store *layers.Store, src Source) (v1.Image, error) {
	file, err := plainArchive(ctx, store, src.Path)
	if err != nil {
		return nil, err
	}
	if err := checkSaved(file); err != nil {
		return nil, err
	}
	var tag *name.Tag
	if t, ok := src.Ref.(name.Tag); ok {
		tag = &t
	}
	return tarball.ImageFromPath(file, tag)
}

// plainArchive returns the path of a decompressed archive: the file itself, or a copy. A copy is
// needed if the file is compressed, or if it is not a regular file and so can be read only once.
func plainArchive(ctx context.Context, store *layers.Store, file string) (_ string, err error) {
	in, err := openArchive(ctx, file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.file.Stat()
	if err != nil {
		return "", err
	}
	if !in.packed && info.Mode().IsRegular() {
		return file, nil
	}
	dir, err := store.TempDir("archive")
	if err != nil {
		return "", err
	}
	plain := filepath.Join(dir, "image.tar")
	if err := store.WriteFile(plain, in); err != nil {
		return "", fmt.Errorf("decompressing the archive: %w", err)
	}
	return plain, nil
}

// maxMembers is the maximum number of members in an archive that "docker save" wrote. The archive
// has four members for each layer, so the limit is far above the needs of real images.
const maxMembers = 1 << 16

// savedList is the name of the file that lists the images in an archive of "docker save".
const savedList = "manifest.json"

// checkSaved refuses an archive of "docker save" if go-containerregistry would read too much of it
// into memory: manifest.json, which lists the images, and the configs of these images.
func checkSaved(file string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	members := map[string]*tar.Header{}
	var list []byte
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading it as a tar file: %w", err)
		}
		member := path.Clean(h.Name)
		if _, ok := members[member]; ok {
			continue // If two members have the same name, go-containerregistry uses the first one.
		}
		if len(members) == maxMembers {
			return refuse("the archive has more than %d members", maxMembers)
		}
		members[member] = h
		if member == savedList && h.Size <= registry.MaxManifest {
			if list, err = io.ReadAll(tr); err != nil {
				return err
			}
		}
	}
	return checkSavedMembers(members, list)
}

// checkSavedMembers checks that manifest.json and the configs in an archive of "docker save" are
// regular files and not too large. It ignores missing members: go-containerregistry reports them.
func checkSavedMembers(members map[string]*tar.Header, list []byte) error {
	check := func(member string, most int64) error {
		h, ok := members[path.Clean(member)]
		switch {
		case !ok:
			return nil
		case h.Typeflag != tar.TypeReg:
			return refuse("member %q of the archive is not a regular file", member)
		case h.Size > most:
			return refuse("member %q of the archive has %d bytes, the limit is %d", member, h.Size, most)
		}
		return nil
	}
	if err := check(savedList, registry.MaxManifest); err != nil || members[savedList] == nil {
		return err
	}
	var images []struct{ Config string }
	if err := json.Unmarshal(list, &images); err != nil {
		return refuse("parsing %s: %v", savedList, err)
	}
	for _, img := range images {
		if err := check(img.Config, layers.MaxConfig); err != nil {
			return err
		}
	}
	return nil
}
