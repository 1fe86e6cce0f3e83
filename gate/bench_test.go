package gate

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/imagegate/imagegate/internal/lab"
)

// BenchmarkCheck checks a generated image with packages of several kinds in four layers, or the
// image in IMAGEGATE_BENCH_IMAGE, such as "oci:PATH". It reports wall-clock and CPU seconds for
// each stage.
func BenchmarkCheck(b *testing.B) {
	h := newTester(b)
	ref := os.Getenv("IMAGEGATE_BENCH_IMAGE")
	if ref == "" {
		// Store the image on disk. A registry or an image in memory would slow down the garbage
		// collector.
		dir := b.TempDir()
		p, err := layout.Write(dir, empty.Index)
		if err == nil {
			err = p.AppendImage(h.image(manyFiles(b)))
		}
		if err != nil {
			b.Fatal(err)
		}
		ref = "oci:" + dir
	}
	src := h.source(ref)
	took := &stageTimes{}
	gunzip := strings.Fields(os.Getenv("IMAGEGATE_BENCH_GUNZIP")) // such as "/usr/bin/igzip -dc"; empty means the gzip library
	g := h.gate(blockCritical, func(o *Options) { o.Progress, o.Gunzip = took, gunzip })
	before := cpuTime()
	packages := 0
	for b.Loop() {
		r, err := g.Check(b.Context(), src, ExternalEvidence{})
		if err != nil {
			b.Fatal(err)
		}
		packages = len(r.SBOMs[0].Packages)
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(b.N)
	b.ReportMetric(float64(packages), "packages")
	b.ReportMetric((cpuTime()-before).Seconds()/n, "cpu-s/op")
	for stage, d := range took.wall {
		b.ReportMetric(d.Seconds()/n, string(stage)+"-s/op")
		b.ReportMetric(took.cpu[stage].Seconds()/n, string(stage)+"-cpu-s/op")
	}
}

// stageTimes adds up the time of each stage. The stages of one platform do not overlap.
type stageTimes struct {
	mu        sync.Mutex
	wall, cpu map[Stage]time.Duration
}

func (s *stageTimes) Start(ctx context.Context, step Step) (context.Context, func(error)) {
	wall, cpu := time.Now(), cpuTime()
	return ctx, func(error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.wall == nil {
			s.wall, s.cpu = map[Stage]time.Duration{}, map[Stage]time.Duration{}
		}
		s.wall[step.Stage] += time.Since(wall)
		s.cpu[step.Stage] += cpuTime() - cpu
	}
}

func (s *stageTimes) Bytes(Step, string, int64, int64) {}

// manyFiles returns an image of some hundred megabytes in four layers. It has Debian packages with
// their licenses, npm modules, Python distributions, Java archives, this test's own Go binary, and
// text that catalogers ignore.
func manyFiles(b *testing.B) lab.ImageSpec {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	spec := lab.ImageSpec{OSRelease: "debian 12"}
	for i := range 600 {
		spec.DebPackages = append(spec.DebPackages, lab.Deb{Name: fmt.Sprintf("library-%d", i), Version: fmt.Sprintf("1.%d-1~deb12u1", i), License: "GPL-2+"})
	}
	for i := range 1500 {
		spec.NPM = append(spec.NPM, lab.NPM{Name: fmt.Sprintf("module-%d", i), Version: fmt.Sprintf("1.0.%d", i), License: "MIT"})
	}
	var python, java, text []lab.File
	for i := range 200 {
		dir := fmt.Sprintf("usr/lib/python3/dist-packages/thing%d", i)
		info := fmt.Sprintf("%s-1.%d.dist-info/", dir, i)
		python = append(python,
			lab.File{Path: info + "METADATA", Content: fmt.Sprintf("Metadata-Version: 2.1\nName: thing%d\nVersion: 1.%d\nLicense: MIT\n\n%s", i, i, lab.Text(r, 4<<10))},
			lab.File{Path: info + "RECORD", Content: fmt.Sprintf("thing%d/__init__.py,,\n", i)})
		for j := range 20 {
			python = append(python, lab.File{Path: fmt.Sprintf("%s/module%d.py", dir, j), Content: lab.Text(r, 16<<10)})
		}
	}
	for i := range 100 {
		java = append(java, lab.File{Path: fmt.Sprintf("opt/app/lib/part-%d.jar", i), Content: jar(b, r, i)})
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		b.Fatal(err)
	}
	java = append(java, lab.File{Path: "usr/local/bin/program", Content: string(program), Mode: 0o755})
	for i := range 3000 {
		text = append(text, lab.File{Path: fmt.Sprintf("usr/share/texts/%d/%d.txt", i%50, i), Content: lab.Text(r, 32<<10)})
	}
	spec.Layers = [][]lab.File{python, java, text}
	return spec
}

func jar(b testing.TB, r *rand.Rand, i int) string {
	b.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	add := func(name, content string) {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	add("META-INF/MANIFEST.MF", fmt.Sprintf("Manifest-Version: 1.0\nImplementation-Title: part-%d\nImplementation-Version: 2.%d\n", i, i))
	add(fmt.Sprintf("META-INF/maven/com.example/part-%d/pom.properties", i), fmt.Sprintf("groupId=com.example\nartifactId=part-%d\nversion=2.%d\n", i, i))
	for j := range 50 {
		add(fmt.Sprintf("com/example/Part%dClass%d.class", i, j), lab.Text(r, 4<<10))
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.String()
}
