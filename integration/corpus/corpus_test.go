package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lab has the store with the images, the programs under test, and the vulnerability database.
type lab struct {
	*store
	bin    string // the folder with the programs imagegate, syft and grype
	policy string
}

// newLab prepares the lab. IMAGEGATE_TEST_CORPUS names the folder that keeps the layers; without
// it, the test is skipped. IMAGEGATE_TEST_PROGRAMS names the folder with the programs; if a program
// is missing, the test fails.
func newLab(t *testing.T) *lab {
	t.Helper()
	dir, bin := os.Getenv("IMAGEGATE_TEST_CORPUS"), os.Getenv("IMAGEGATE_TEST_PROGRAMS")
	if dir == "" {
		t.Skip("IMAGEGATE_TEST_CORPUS is not set: run make test-corpus")
	}
	for _, program := range []string{"mmdebstrap", "npm", "go", filepath.Join(bin, "imagegate"), filepath.Join(bin, "syft"), filepath.Join(bin, "grype")} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the corpus needs %s: %v", program, err)
		}
	}
	for _, d := range []string{"run", "run/tmp", "run/home"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{store: &store{T: t, dir: dir, suite: "bookworm"}, bin: bin}
	l.policy = filepath.Join(t.TempDir(), "starter.yaml")
	l.must("imagegate", "policy", "init", l.policy)
	l.database()
	return l
}

// environment returns the environment variables for the programs: they use only the lab's folder,
// and no network.
func (l *lab) environment() []string {
	run := filepath.Join(l.dir, "run")
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(run, "home"), "TMPDIR=" + filepath.Join(run, "tmp"),
		"IMAGEGATE_CACHE_DIR=" + filepath.Join(run, "cache"), "IMAGEGATE_QUIET=1", "IMAGEGATE_CACHE_MAX=0",
		"GRYPE_DB_CACHE_DIR=" + filepath.Join(run, "grype"), "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false", "SYFT_CHECK_FOR_APP_UPDATE=false",
	}
}

// exec runs a program and returns its output and exit code.
func (l *lab) exec(name string, args ...string) (stdout, stderr []byte, code int) {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), filepath.Join(l.bin, name), args...)
	cmd.Env = l.environment()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if e := cmd.Run(); e != nil && !errors.As(e, &exit) {
		l.Fatalf("running %s: %v", name, e)
	}
	return out.Bytes(), err.Bytes(), cmd.ProcessState.ExitCode()
}

// must runs a program and fails the test if the program does not exit with code 0.
func (l *lab) must(name string, args ...string) []byte {
	l.Helper()
	stdout, stderr, code := l.exec(name, args...)
	if code != 0 {
		l.Fatalf("%s %s exited with code %d:\n%s%s", name, strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// report has the parts of imagegate's JSON report that the tests compare.
type report struct {
	Input struct {
		Platforms []struct {
			Packages []pkg     `json:"packages"`
			Findings []finding `json:"findings"`
		} `json:"platforms"`
	} `json:"input"`
	Decision struct {
		Passed     bool        `json:"passed"`
		Violations []violation `json:"violations"`
	} `json:"decision"`
}

type pkg struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`
}

func (p pkg) String() string { return p.Name + " " + p.Version + " (" + p.Type + ")" }

type finding struct {
	ID       string `json:"id"`
	Package  pkg    `json:"package"`
	Severity string `json:"severity"`
	FixState string `json:"fixState"`
}

func (f finding) String() string {
	return fmt.Sprintf("%s %s %s %s", f.ID, f.Package, f.Severity, f.FixState)
}

type violation struct {
	Rule    string   `json:"rule"`
	Message string   `json:"message"`
	Finding *finding `json:"finding"`
	Package *pkg     `json:"package"`
	Unknown *struct {
		Path string `json:"path"`
	} `json:"unknown"`
	Uncovered *struct {
		Package *pkg   `json:"package"`
		Type    string `json:"type"`
	} `json:"unmatched"`
}

// about returns the package name or the path that the violation is about.
func (v violation) about() string {
	switch {
	case v.Finding != nil:
		return v.Finding.Package.Name
	case v.Package != nil:
		return v.Package.Name
	case v.Uncovered != nil && v.Uncovered.Package != nil:
		return v.Uncovered.Package.Name
	case v.Uncovered != nil:
		return v.Uncovered.Type
	case v.Unknown != nil:
		return v.Unknown.Path
	}
	return ""
}

func (v violation) denial() denial { return denial{Rule: v.Rule, About: v.about()} }

func (v violation) String() string { return fmt.Sprintf("%s: %s", v.denial(), v.Message) }

// check runs imagegate check on an image with the starter policy.
func (l *lab) check(img image) report {
	l.Helper()
	file := filepath.Join(l.TempDir(), "report.json")
	stdout, stderr, code := l.exec("imagegate", "check", "oci:"+img.dir, "--policy", l.policy, "--output", "json="+file)
	data, err := os.ReadFile(file)
	if err != nil {
		l.Fatalf("imagegate exited with code %d and wrote no report:\n%s%s", code, stdout, stderr)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		l.Fatalf("reading imagegate's report: %v", err)
	}
	if want := map[bool]int{true: 0, false: 2}[r.Decision.Passed]; code != want || len(r.Input.Platforms) != 1 {
		l.Fatalf("imagegate exited with code %d: want %d, and one platform\n%s%s", code, want, stdout, stderr)
	}
	return r
}

// TestCorpus checks the verdict and the findings for every image of the corpus. With -short, it
// checks only six images.
func TestCorpus(t *testing.T) {
	l := newLab(t)
	for _, r := range readRecipes(t) {
		if testing.Short() && !r.Short {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			l := l.in(t)
			l.judge(r)
		})
	}
}

// in returns a copy of the lab that reports to the subtest t.
func (l *lab) in(t *testing.T) *lab {
	s, sub := *l.store, *l
	s.T, sub.store = t, &s
	return &sub
}

// judge compares the verdict for an image with the expected verdict, first without and then with
// the planted vulnerable package.
func (l *lab) judge(r recipe) {
	clean := l.check(l.image(r, false))
	if want := r.Verdict == "passed"; clean.Decision.Passed != want {
		l.Errorf("passed is %v: want %v, as %s", clean.Decision.Passed, want, r.Why)
	}
	expected := r.Denials
	l.compareDenials("the image", expected, clean.Decision.Violations)

	img := l.image(r, true)
	planted := l.check(img)
	if planted.Decision.Passed {
		l.Error("the image with the planted package passed")
	}
	expected = append(expected[:len(expected):len(expected)], l.plantedDenials(r.Plant, clean, planted)...)
	l.compareDenials("the image with the planted package", expected, planted.Decision.Violations)
	l.compareScanners(img, planted)
}

// plantedDenials checks that the expected rule denies each expected finding. It returns all denials
// for findings in packages that the clean image does not have.
func (l *lab) plantedDenials(p plant, clean, planted report) []denial {
	for _, id := range p.Finds {
		if !slices.ContainsFunc(planted.Decision.Violations, func(v violation) bool {
			return v.Finding != nil && v.Finding.ID == id && v.Finding.Package.Name == p.Package && v.Rule == p.Rule
		}) {
			l.Errorf("rule %q does not deny %s in the planted package %s", p.Rule, id, p.Package)
		}
	}
	var out []denial
	for _, v := range planted.Decision.Violations {
		if v.Finding != nil && !slices.Contains(clean.Input.Platforms[0].Packages, v.Finding.Package) {
			out = append(out, v.denial())
		}
	}
	return out
}

// compareDenials reports each violation that is missing or unexpected, with its message. what names
// the image.
func (l *lab) compareDenials(what string, expected []denial, got []violation) {
	for _, v := range got {
		if !slices.Contains(expected, v.denial()) {
			l.Errorf("%s is denied: %s", what, v)
		}
	}
	for _, d := range expected {
		if !slices.ContainsFunc(got, func(v violation) bool { return v.denial() == d }) {
			l.Errorf("%s is not denied: %s", what, d)
		}
	}
}

// compareScanners compares the packages and findings in imagegate's report with the reports of syft
// and grype.
func (l *lab) compareScanners(img image, r report) {
	sbom := filepath.Join(l.dir, "syft", strings.TrimPrefix(img.digest, "sha256:")+".json")
	if _, err := os.Stat(sbom); err != nil {
		if err := os.MkdirAll(filepath.Dir(sbom), 0o755); err != nil {
			l.Fatal(err)
		}
		l.must("syft", "scan", "oci-dir:"+img.dir, "-q", "-o", "syft-json="+sbom+".new")
		if err := os.Rename(sbom+".new", sbom); err != nil {
			l.Fatal(err)
		}
	}
	compare(l, "packages", "syft", l.syftPackages(sbom), r.Input.Platforms[0].Packages)
	compare(l, "findings", "grype", l.grypeFindings(sbom), r.Input.Platforms[0].Findings)
}

func (l *lab) syftPackages(sbom string) []pkg {
	l.Helper()
	var doc struct {
		Artifacts []pkg `json:"artifacts"`
	}
	data, err := os.ReadFile(sbom)
	if err != nil {
		l.Fatal(err)
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		l.Fatalf("reading syft's packages: %v", err)
	}
	return doc.Artifacts
}

func (l *lab) grypeFindings(sbom string) []finding {
	l.Helper()
	var doc struct {
		Matches []struct {
			Vulnerability struct {
				ID       string `json:"id"`
				Severity string `json:"severity"`
				Fix      struct {
					State string `json:"state"`
				} `json:"fix"`
			} `json:"vulnerability"`
			Artifact pkg `json:"artifact"`
		} `json:"matches"`
	}
	if err := json.Unmarshal(l.must("grype", "sbom:"+sbom, "-q", "-o", "json"), &doc); err != nil {
		l.Fatalf("reading grype's findings: %v", err)
	}
	var out []finding
	for _, m := range doc.Matches {
		out = append(out, finding{m.Vulnerability.ID, m.Artifact, strings.ToLower(m.Vulnerability.Severity), m.Vulnerability.Fix.State})
	}
	return out
}

// compare compares two lists as sets: it ignores the order.
func compare[T fmt.Stringer](l *lab, what, program string, want, got []T) {
	l.Helper()
	if d := cmp.Diff(sorted(want), sorted(got)); d != "" {
		l.Errorf("%s differ from %s's (-%s +imagegate):\n%s", what, program, program, d)
	}
	l.Logf("%d %s", len(got), what)
}

func sorted[T fmt.Stringer](list []T) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, v.String())
	}
	slices.Sort(out)
	return out
}
