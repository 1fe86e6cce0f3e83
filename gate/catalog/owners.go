package catalog

import (
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // what dpkg and Portage record
	"crypto/sha1" //nolint:gosec // what apk records
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/file"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/policy/evidence"
)

// ownedFile is a file that a package of the distribution installed. The content of the file has the
// checksum in the package database, so no later layer or command replaced it. A matching path alone
// would not prove that.
type ownedFile struct {
	Path  string
	Owner evidence.Package // the package, without locations and licenses
}

// ownership is one file that a package database lists: the package that owns the file, and the
// recorded checksum.
type ownership struct {
	owner  *syftpkg.Package
	digest file.Digest
}

// findOwners sets s.owners. For each unreadable file and each file that describes a language
// package, it looks for the distribution package that owns the file.
func (s *SBOM) findOwners(ctx context.Context, r file.Resolver) error {
	wanted := s.describedFiles()
	if len(wanted) == 0 {
		return nil
	}
	records := ownershipsOf(s.sorted, wanted)
	for _, p := range slices.Sorted(maps.Keys(records)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		owner, err := verifiedOwner(r, p, records[p])
		if err != nil {
			return fmt.Errorf("comparing %q in %s with the package database: %w", p, s.Digest, err)
		}
		if owner != nil {
			s.owners = append(s.owners, ownedFile{Path: p,
				Owner: evidence.Package{Name: owner.Name, Version: owner.Version, Type: string(owner.Type), PURL: owner.PURL}})
		}
	}
	return nil
}

// describedFiles returns the paths of the files whose owners matter: the unreadable files, and the
// files that describe language packages.
func (s *SBOM) describedFiles() map[string]bool {
	wanted := map[string]bool{}
	for i := range s.sorted {
		if p := &s.sorted[i]; !IsOSPackage(p.Type) {
			for _, l := range Evidence(p) {
				wanted[l.RealPath] = true
			}
		}
	}
	for _, u := range s.Unknowns {
		wanted[u.Path] = true
	}
	return wanted
}

// Evidence returns the locations that describe a package. It omits locations with only supporting
// evidence, such as a list of the package's files.
func Evidence(p *syftpkg.Package) []file.Location {
	all := p.Locations.ToSlice()
	primary := slices.DeleteFunc(slices.Clone(all), func(l file.Location) bool {
		return l.Annotations[syftpkg.EvidenceAnnotationKey] != syftpkg.PrimaryEvidenceAnnotation
	})
	if len(primary) > 0 {
		return primary
	}
	return all
}

// databasePaths are the locations of the distributions' package databases. A database elsewhere,
// such as in the root file system of another system in a subfolder, owns no file of the image.
var databasePaths = []string{
	"/var/lib/dpkg/status", "/var/lib/dpkg/status.d/", "/lib/apk/db/installed", "/usr/lib/apk/db/installed",
	"/var/lib/rpm/", "/usr/lib/sysimage/rpm/", "/usr/share/rpm/", "/var/lib/pacman/local/", "/var/db/pkg/",
}

func inDatabase(p *syftpkg.Package) bool {
	return slices.ContainsFunc(p.Locations.ToSlice(), func(l file.Location) bool {
		return slices.ContainsFunc(databasePaths, func(known string) bool {
			return l.RealPath == known || strings.HasSuffix(known, "/") && strings.HasPrefix(l.RealPath, known)
		})
	})
}

// ownershipsOf returns the packages that own the wanted paths according to the package databases.
func ownershipsOf(packages []syftpkg.Package, wanted map[string]bool) map[string][]ownership {
	records := map[string][]ownership{}
	for i := range packages {
		p := &packages[i]
		if !IsOSPackage(p.Type) || !inDatabase(p) {
			continue
		}
		eachRecord(p.Metadata, func(listed string, digest file.Digest) {
			listed = path.Join("/", listed)
			// A package database may list a file in /lib even if /lib is a link to /usr/lib, so
			// look for both paths.
			for _, at := range []string{listed, "/usr" + listed} {
				if wanted[at] {
					records[at] = append(records[at], ownership{p, digest})
				}
			}
		})
	}
	return records
}

// eachRecord calls f for each file that the metadata of a package lists with a checksum. Only a
// package database lists files: the metadata of a package archive in the image, such as a .deb,
// does not.
func eachRecord(metadata any, f func(path string, d file.Digest)) {
	known := func(path string, d *file.Digest) {
		if d != nil && d.Value != "" {
			f(path, *d)
		}
	}
	switch m := metadata.(type) {
	case syftpkg.DpkgDBEntry:
		for _, r := range m.Files {
			known(r.Path, r.Digest)
		}
	case syftpkg.ApkDBEntry:
		for _, r := range m.Files {
			known(r.Path, r.Digest)
		}
	case syftpkg.RpmDBEntry:
		for _, r := range m.Files {
			known(r.Path, &r.Digest)
		}
	case syftpkg.AlpmDBEntry:
		for _, r := range m.Files {
			for _, d := range r.Digests {
				known(r.Path, &d)
			}
		}
	case syftpkg.PortageEntry:
		for _, r := range m.Files {
			known(r.Path, r.Digest)
		}
	}
}

// verifiedOwner returns the first package whose recorded checksum equals the file's checksum, or
// nil if there is none.
func verifiedOwner(r file.Resolver, at string, records []ownership) (_ *syftpkg.Package, err error) {
	found, err := r.FilesByPath(at)
	if err != nil {
		return nil, err
	}
	// The path contains a link, or the file does not exist.
	if len(found) != 1 || found[0].RealPath != at {
		return nil, nil
	}
	rc, err := r.FileContentsByLocation(found[0])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	hashes := map[string]hash.Hash{}
	var all []io.Writer
	for _, c := range records {
		if h := newHash(c.digest.Algorithm); h != nil && hashes[c.digest.Algorithm] == nil {
			hashes[c.digest.Algorithm] = h
			all = append(all, h)
		}
	}
	if _, err := io.Copy(io.MultiWriter(all...), rc); err != nil {
		return nil, err
	}
	for _, c := range records {
		if h := hashes[c.digest.Algorithm]; h != nil && sameDigest(h.Sum(nil), c.digest) {
			return c.owner, nil
		}
	}
	return nil, nil
}

// apkDigest is syft's name for the checksum algorithm of an apk database.
const apkDigest = "'Q1'+base64(sha1)"

// newHash returns a hash for the algorithm, or nil if the algorithm is unknown.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "md5":
		return md5.New() //nolint:gosec // what dpkg and Portage record
	case "sha1", apkDigest:
		return sha1.New() //nolint:gosec // what apk records
	case "sha224":
		return sha256.New224()
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return nil
}

func sameDigest(sum []byte, d file.Digest) bool {
	var want []byte
	var err error
	if d.Algorithm == apkDigest {
		want, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(d.Value, "Q1"))
	} else {
		want, err = hex.DecodeString(d.Value)
	}
	return err == nil && bytes.Equal(sum, want)
}
