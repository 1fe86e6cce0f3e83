package gate

import (
	"archive/zip"
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/imagegate/imagegate/gate/layers"
	"github.com/imagegate/imagegate/policy/evidence"
)

// zipOf returns a zip archive. pairs has the name and the content of each file in turn.
func zipOf(t *testing.T, pairs ...string) string {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(pairs); i += 2 {
		f, err := w.Create(pairs[i])
		if err == nil {
			_, err = f.Write([]byte(pairs[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

const manifest = "META-INF/MANIFEST.MF"

// TestUnreadableArchiveInsideAnArchiveIsNotSilent checks that an unreadable nested archive is
// listed as an unknown. syft drops the archive and all packages in it.
func TestUnreadableArchiveInsideAnArchiveIsNotSilent(t *testing.T) {
	inner := jar(t, rand.New(rand.NewPCG(1, 1)), 7)
	damaged := zipOf(t, "y.jar", strings.Repeat("some content ", 1000))
	damaged = damaged[:60] + "damaged" + damaged[67:]
	for name, nested := range map[string]string{
		"cut":                          inner[:len(inner)/2],
		"not an archive":               "Rar!",
		"a damaged archive deeper":     zipOf(t, manifest, "Manifest-Version: 1.0\nImplementation-Title: hidden\nImplementation-Version: 1\n", "deep.jar", inner[:40]),
		"a damaged entry that is read": zipOf(t, manifest, "Manifest-Version: 1.0\nImplementation-Title: hidden\nImplementation-Version: 1\n", "x.jar", damaged),
	} {
		t.Run(name, func(t *testing.T) {
			outer := zipOf(t, manifest, "Manifest-Version: 1.0\nImplementation-Title: outer\nImplementation-Version: 1\n",
				"lib/good.jar", inner, "lib/nested.jar", nested)
			a, p := fetched(t, layered(t, empty.Image, archiveOf(t, 0, []member{{name: "srv/app.jar", content: outer}})))
			s, err := testCataloger.Generate(t.Context(), a, p.Image, p.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.Packages, func(p evidence.Package) bool { return p.Name == "part-7" }) {
				t.Error("the readable archive is not cataloged")
			}
			if !slices.ContainsFunc(s.Unknowns, func(u evidence.Unknown) bool { return strings.HasPrefix(u.Path, "/srv/app.jar:lib/nested.jar") }) {
				t.Errorf("the unreadable archive is not an unknown: %+v", s.Unknowns)
			}
		})
	}
}

// TestOrdinaryArchivesInsideArchivesAreNoUnknowns checks that readable nested archives are not
// unknowns. Most nested archives contain only classes.
func TestOrdinaryArchivesInsideArchivesAreNoUnknowns(t *testing.T) {
	outer := zipOf(t, manifest, "Manifest-Version: 1.0\nImplementation-Title: outer\nImplementation-Version: 1\n",
		"lib/good.jar", jar(t, rand.New(rand.NewPCG(1, 1)), 7), "lib/classes.jar", zipOf(t, "A.class", "x"),
		"lib/deeper.jar", zipOf(t, "B.class", "x", "lib/classes.jar", zipOf(t, "C.class", "x")))
	a, p := fetched(t, layered(t, empty.Image, archiveOf(t, 0, []member{{name: "srv/app.jar", content: outer}})))
	s, err := testCataloger.Generate(t.Context(), a, p.Image, p.Digest)
	if err != nil || len(s.Unknowns) > 0 {
		t.Errorf("%+v, %v", s.Unknowns, err)
	}
}

// unpacksIn sets Options.UnpackIn to a function that sets TMPDIR, as the command line does. The
// function stores the folder in used.
func unpacksIn(t *testing.T, used *string) func(*Options) {
	return func(o *Options) {
		o.UnpackIn = func(dir string) (func() error, error) {
			*used = dir
			before := os.Getenv("TMPDIR")
			return func() error { return os.Setenv("TMPDIR", before) }, os.Setenv("TMPDIR", dir)
		}
	}
}

// TestArchivesInTheImageDoNotFillTheSystemsFolder checks that archives in the image are unpacked in
// the run's own folder, and count towards the run's disk limit.
func TestArchivesInTheImageDoNotFillTheSystemsFolder(t *testing.T) {
	h := newTester(t)
	system := t.TempDir()
	t.Setenv("TMPDIR", system)
	bomb := zipOf(t, "a.jar", strings.Repeat("\x00", 64<<20))
	bomb = zipOf(t, "m.jar", bomb, "n.jar", bomb, manifest, "Manifest-Version: 1.0\n")
	src := h.push("app:1", layered(t, h.image(clean), archiveOf(t, 0, []member{{name: "opt/x.jar", content: bomb}})))
	var used string
	// Make the system's temporary folder read-only, so that any write to it fails.
	if err := os.Chmod(system, 0o500); err != nil {
		t.Fatal(err)
	}
	h.check(h.gate("version: 1\nrules: [{name: all, effect: warn}]\n", unpacksIn(t, &used)), src)
	if !strings.HasPrefix(used, h.temp) {
		t.Errorf("archives were unpacked in %q", used)
	}
	if entries, err := os.ReadDir(system); err != nil || len(entries) > 0 {
		t.Errorf("in the system's folder: %v, %v", entries, err)
	}
	if got := os.Getenv("TMPDIR"); got != system {
		t.Errorf("the variable stays %q", got)
	}
	h2 := newTester(t)
	src = h2.push("app:1", layered(t, h2.image(clean), archiveOf(t, 0, []member{{name: "opt/x.jar", content: bomb}})))
	err := h2.refuse(h2.gate(blockCritical, unpacksIn(t, &used), func(o *Options) { o.MaxDisk = 20 << 20 }), src)
	if !errors.Is(err, layers.ErrTooLarge) {
		t.Errorf("past the limit: %v", err)
	}
}
