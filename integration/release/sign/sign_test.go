package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagegate/imagegate/internal/release"
	"github.com/imagegate/imagegate/internal/trust"
)

const (
	tag  = "v1.2.3"
	fork = "https://github.com/fork/imagegate"
)

// attempt is a way to sign a release, and the parts of the result that verifiers must accept.
type attempt struct {
	name string
	args []string
	// change changes the folder after signing.
	change                func(*folder)
	signature, provenance bool
}

var attempts = []attempt{
	{name: "correct", signature: true, provenance: true},
	{name: "changed archive", change: (*folder).changeFile, signature: true},
	{name: "changed checksums", change: (*folder).changeChecksums, provenance: true},
	{name: "provenance of another tag", change: (*folder).replaceProvenance, signature: true},
	{name: "another tag", args: []string{"-tag", "v1.2.4"}},
	{name: "another repository", args: []string{"-repository", fork}},
	{name: "another workflow", args: []string{"-workflow", ".github/workflows/test.yml"}},
	{name: "called by another repository", args: []string{"-source", fork}},
	{name: "a branch", args: []string{"-identity", "https://github.com/imagegate/imagegate/.github/workflows/release.yml@refs/heads/main"}},
	{name: "another issuer", args: []string{"-issuer", "https://issuer.example"}},
	{name: "expired certificate", args: []string{"-expired"}},
	{name: "other bytes", args: []string{"-checksums", "other.txt"}},
	{name: "another Sigstore", args: []string{"-sigstore", "other"}},
}

// folder is a folder with release files, and the Sigstore that its verifiers trust.
type folder struct {
	*testing.T
	path, sigstore string
	// files are the names of the files in checksums.txt.
	files []string
}

// file returns the path of the first file.
func (f *folder) file() string { return filepath.Join(f.path, f.files[0]) }

// newFolder makes a folder with the files of IMAGEGATE_TEST_RELEASE, or with small files.
func newFolder(t *testing.T, sigstore string) *folder {
	t.Helper()
	f := &folder{T: t, path: t.TempDir(), sigstore: sigstore}
	if given := os.Getenv("IMAGEGATE_TEST_RELEASE"); given != "" {
		f.link(given)
		return f
	}
	var sums bytes.Buffer
	for _, name := range []string{"imagegate_1.2.3_linux_amd64.tar.zst", "imagegate_1.2.3_windows_amd64.zip", "imagegate_1.2.3_linux_amd64.deb"} {
		content := []byte("the content of " + name)
		f.write(name, content)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
		f.files = append(f.files, name)
	}
	f.write(checksumsFile, sums.Bytes())
	return f
}

// link links the files of a release that is already built.
func (f *folder) link(from string) {
	f.Helper()
	from, err := filepath.Abs(from)
	if err != nil {
		f.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(from, checksumsFile))
	if err != nil {
		f.Fatal(err)
	}
	listed, err := subjects(sums)
	if err != nil {
		f.Fatal(err)
	}
	f.write(checksumsFile, sums)
	for _, s := range listed {
		if err := os.Symlink(filepath.Join(from, s.Name), filepath.Join(f.path, s.Name)); err != nil {
			f.Fatal(err)
		}
		f.files = append(f.files, s.Name)
	}
}

func (f *folder) write(name string, content []byte) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.path, name), content, 0o644); err != nil {
		f.Fatal(err)
	}
}

// sign runs the command. Names of files and folders in args are relative to the folder.
func (f *folder) sign(args ...string) {
	f.Helper()
	f.write("other.txt", fmt.Appendf(nil, "%064x  other.zip\n", 1))
	f.Chdir(f.path)
	if err := run(append(append([]string{"-tag", tag, "-sigstore", f.sigstore}, args...), f.path)); err != nil {
		f.Fatal(err)
	}
}

// flip changes a byte in the middle of a file.
func (f *folder) flip(path string) {
	f.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.Remove(path); err != nil { // it may be a link
		f.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		f.Fatal(err)
	}
}

func (f *folder) changeFile() { f.flip(f.file()) }

func (f *folder) changeChecksums() { f.flip(filepath.Join(f.path, checksumsFile)) }

func (f *folder) replaceProvenance() {
	right, err := os.ReadFile(filepath.Join(f.path, bundleFile))
	if err != nil {
		f.Fatal(err)
	}
	f.sign("-tag", "v1.2.4")
	f.write(bundleFile, right)
}

// signed returns a folder that is signed as attempt says.
func (a attempt) signed(t *testing.T, sigstore string) *folder {
	t.Helper()
	f := newFolder(t, sigstore)
	f.sign(a.args...)
	if a.change != nil {
		a.change(f)
	}
	return f
}

// newSigstore returns the folder of a new Sigstore, and the URL of its TUF repository.
func newSigstore(t *testing.T) (dir, mirror string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "sigstore")
	if _, err := open(dir); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, tufDir))))
	t.Cleanup(server.Close)
	return dir, server.URL
}

// TestOnlyCorrectReleasesVerify verifies each attempt with the code of "imagegate verify-release".
// All attempts use the same Sigstore, so that a refusal has no other cause.
func TestOnlyCorrectReleasesVerify(t *testing.T) {
	dir, mirror := newSigstore(t)
	initial, err := os.ReadFile(filepath.Join(dir, tufRootFile))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.TUF{URL: mirror, Root: initial, Dir: t.TempDir()}.TrustedRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			f := a.signed(t, dir)
			var paths []string
			for _, name := range f.files {
				paths = append(paths, filepath.Join(f.path, name))
			}
			verified, err := release.Release{Source: release.Source, Tag: tag}.Verify(paths, root)
			if want := a.signature && a.provenance; (err == nil) != want {
				t.Errorf("accepted: %t, want %t: %v", err == nil, want, err)
			}
			if err == nil && len(verified) != len(f.files) {
				t.Errorf("%d of %d files are verified", len(verified), len(f.files))
			}
			t.Log(err)
		})
	}
}

// TestSigstoreIsKept checks that later runs use the Sigstore of the first run, and add to its log.
func TestSigstoreIsKept(t *testing.T) {
	dir, _ := newSigstore(t)
	before, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil {
		t.Fatal(err)
	}
	f := newFolder(t, dir)
	const runs = 3
	for range runs {
		f.sign()
	}
	after, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the trusted root has changed: %v", err)
	}
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.entries.Size(); got != 2*runs {
		t.Errorf("the log has %d entries, want %d", got, 2*runs)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	f := newFolder(t, filepath.Join(t.TempDir(), "sigstore"))
	empty := t.TempDir()
	for name, args := range map[string][]string{
		"no folder":    {"-tag", tag, "-sigstore", f.sigstore},
		"no tag":       {"-sigstore", f.sigstore, f.path},
		"no Sigstore":  {"-tag", tag, f.path},
		"no checksums": {"-tag", tag, "-sigstore", f.sigstore, empty},
		"not sums":     {"-tag", tag, "-sigstore", f.sigstore, "-checksums", os.DevNull, f.path},
	} {
		if run(args) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
