package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
)

// measured returns made-up results for the big image: imagegate takes ten seconds, and the shell
// pipeline forty.
func measured() *Results {
	image := ImageResult{Name: "big", Layers: 2, Compressed: 1e6, Uncompressed: 3e6, Packages: 7, Findings: 5, TrivyFindings: 4, Series: []Series{
		{Name: pipeline, Samples: []Sample{{Seconds: 40, CPUSeconds: 40, Stages: []Stage{{Name: "syft", Seconds: 25, Peak: 1000}, {Name: "grype", Seconds: 5, Peak: 900},
			{Name: "attest", Seconds: 4}, {Name: "attest", Seconds: 6}}}}},
		{Name: first, Samples: []Sample{{Seconds: 10, CPUSeconds: 30, Peak: 500, Read: 1e6, WrittenImage: 1e6, Written: 2e6,
			Stages: []Stage{{Name: "pull", Seconds: 6}, {Name: "other", Seconds: 4}}}}},
		{Name: firstPlain, Samples: []Sample{{Seconds: 20}}},
		{Name: again, Samples: []Sample{{Seconds: 1}}},
		{Name: denied, Samples: []Sample{{Seconds: 15}}},
		{Name: firstCheck, Missing: "there is a <reason>"},
		{Name: trivyFirst, Samples: []Sample{{Seconds: 12, Peak: 250, Findings: 4}}},
		{Name: checkAgain, Samples: []Sample{{Seconds: 2, CPUSeconds: 3}}},
		{Name: trivyAgain, Samples: []Sample{{Seconds: 1, CPUSeconds: 1}}},
		{Name: rebuiltPromote, Samples: []Sample{{Seconds: 2, Read: 210, NewLayer: 200}}},
		{Name: rebuiltCheck, Samples: []Sample{{Seconds: 3}}},
		{Name: trivyRebuilt, Samples: []Sample{{Seconds: 4}}},
		{Name: floor, Samples: []Sample{{Seconds: 3}}},
		{Name: help, Samples: []Sample{{Seconds: 0.02}}},
		{Name: lint, Samples: []Sample{{Seconds: 0.08}}},
	}}
	image.Figures = figures(&image)
	return &Results{Rounds: 1, Machine: Machine{System: "linux/amd64", Cores: 2, Go: "go1.26"}, Programs: map[string]string{"syft": "v1"}, Images: []ImageResult{image}}
}

func TestFiguresAreOfTheirParts(t *testing.T) {
	type row struct {
		value, limit float64
		reached      bool
	}
	got := map[string]row{}
	for _, f := range measured().Images[0].Figures {
		got[f.Name] = row{f.Value, f.Limit, f.reached()}
	}
	want := map[string]row{
		"check of a rebuilt image / Trivy":                          {0.75, 1, true},
		"promote of a rebuilt image / first promote":                {0.2, 0.12, false},
		"staging bytes read for a rebuilt image / its new layer":    {1.05, 1.05, true},
		"check again / Trivy again":                                 {2, 1, false},
		"first check / Trivy, first":                                {0, 0.6, false},
		"promote again, same digest / first promote":                {0.1, 0.03, false},
		"first promote / shell pipeline":                            {0.25, 0.25, true},
		"first promote without igzip / shell pipeline":              {0.5, 0.40, false},
		"first denial / syft + grype":                               {0.5, 0.35, false},
		"staging bytes read / compressed size":                      {1, 1, true},
		"approved bytes written / compressed size":                  {1, 1, true},
		"approved bytes written by promote again / compressed size": {0, 0, true},
		"ingest / curl, igzip, sha256sum":                           {2, 1.5, false},
		"peak memory / syft":                                        {0.5, 0.6, true},
		"peak memory / Trivy":                                       {2, 1, false},
		"imagegate --help":                                          {20, 60, true},
		"imagegate policy lint":                                     {80, 60, false},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(row{})); d != "" {
		t.Errorf("figures (-want +got):\n%s", d)
	}
}

// TestWhatIsMissingIsNotReached checks that a figure without a value does not count as reached.
func TestWhatIsMissingIsNotReached(t *testing.T) {
	for _, name := range []string{"big", small} {
		for _, f := range figures(&ImageResult{Name: name}) {
			if f.reached() || f.Missing != notSelected || f.answer() != "–" {
				t.Errorf("%+v counts as measured", f)
			}
		}
	}
}

// TestFiguresOfServices checks the figures that only the small image has.
func TestFiguresOfServices(t *testing.T) {
	many := &Sample{}
	for i := range services {
		stage := otherServices
		if i == 0 {
			stage = firstService
		}
		many.addRun(&Sample{Seconds: 1, CPUSeconds: 2, Read: 5e6}, stage)
	}
	got := map[string]string{}
	for _, f := range smallFigures(&ImageResult{Name: small, Series: []Series{
		{Name: manyServices, Samples: []Sample{*many}},
		{Name: tiny, Samples: []Sample{{Seconds: 0.25}}}, {Name: tinyLarge, Samples: []Sample{{Seconds: 0.5}}},
	}}) {
		got[f.Name] = strings.Join([]string{f.measured(), f.limit(), f.answer(), f.processors()}, ", ")
	}
	want := map[string]string{
		"30 services on one base / 30 times the first": "**1.00** (30.00 s / 30.00 s), 0.25, **no**, 1.00",
		"staging bytes read for 30 services":           "150 MB, 130 MB, **no**, –",
		"opening a database of 600,000 records":        "250 ms, 100 ms, **no**, –",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("figures (-want +got):\n%s", d)
	}
}

func TestSubjectsAreSelected(t *testing.T) {
	for _, c := range []struct {
		image, only string
		want        []string
	}{
		{"big", "rebuilt", []string{rebuiltPromote, rebuiltCheck, trivyRebuilt}},
		{"big", "--help,policy", []string{help, lint}},
		{small, "tiny,services", []string{tiny, tinyLarge, manyServices}},
		{"big", "services", nil},
	} {
		var got []string
		for _, s := range (options{only: c.only}).subjects(c.image) {
			got = append(got, s.name)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("-only %s for the %s image (-want +got):\n%s", c.only, c.image, d)
		}
	}
}

// TestResultOmitsWhatWasNotSelected checks that a figure is omitted if one of its parts was not
// selected, and kept if a program is not installed.
func TestResultOmitsWhatWasNotSelected(t *testing.T) {
	p := &place{image: &built{image: empty.Image}}
	got, err := p.result("big", []Series{
		{Name: checkAgain, Samples: []Sample{{Seconds: 1, Packages: 3, Findings: 2}}},
		{Name: trivyAgain, Missing: "trivy is not built"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Figures) != 1 || got.Figures[0].Missing != "trivy is not built" {
		t.Errorf("figures: %+v", got.Figures)
	}
	if got.Packages != 3 || got.Findings != 2 || got.TrivyFindings != 0 {
		t.Errorf("%d packages, %d and %d findings", got.Packages, got.Findings, got.TrivyFindings)
	}
}

// TestApplicationsDiffer checks the size of the application layer, and that a rebuild changes it.
func TestApplicationsDiffer(t *testing.T) {
	files := application(1, []string{"module-0", "package-0"})
	l, err := layer(files)
	if err != nil {
		t.Fatal(err)
	}
	size, err := l.Size()
	if err != nil {
		t.Fatal(err)
	}
	if size < 19e6 || size > 21e6 {
		t.Errorf("the layer has %d bytes", size)
	}
	if !cmp.Equal(files, application(1, []string{"module-0"})) {
		t.Error("the same seed gives other files")
	}
	for i, f := range application(2, []string{"module-0"}) {
		if same := f == files[i]; same != strings.HasSuffix(f.Path, "package.json") {
			t.Errorf("%s is the same: %v", f.Path, same)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("the median of %v is %v, not %v", c.values, got, c.want)
		}
	}
}

func TestPlotIsXML(t *testing.T) {
	plot := measured().plot()
	for dec := xml.NewDecoder(strings.NewReader(plot)); ; {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"attest 10.00 s", "the big image", ">40.0<"} {
		if !strings.Contains(plot, want) {
			t.Errorf("the plot lacks %q", want)
		}
	}
}

func TestPageKeepsWhatIsAround(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("above\n"+everydayBegin+everydayEnd+"between\n"+pageBegin+"old\n"+pageEnd+"below\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second run replaces the output of the first run
		if err := writePage(page, measured()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "above\n"+everydayBegin+"| run | big, 1 MB |\n") || !strings.Contains(text, everydayEnd+"between\n"+pageBegin) || !strings.HasSuffix(text, pageEnd+"below\n") || strings.Contains(text, "old") {
		t.Errorf("the page is now\n%s", text)
	}
	for _, want := range []string{
		"| first promote / shell pipeline | **0.25** (10.00 s / 40.00 s) | 0.25 | yes | 0.75 |\n", " 7 packages, 5 findings, 4 findings of Trivy.\n",
		"| check of a rebuilt image | 3.00 s |\n", "| read from staging by this promote | 0 kB |\n", "| promote of 30 services on one base | – |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if _, err := os.Stat(strings.TrimSuffix(page, ".md") + ".svg"); err != nil {
		t.Error(err)
	}
	if _, err := replaced("a page without lines", pageBegin, pageEnd, "text"); err == nil {
		t.Error("a page without the lines is written over")
	}
}

func TestResultsSurviveJSON(t *testing.T) {
	data, err := json.Marshal(measured())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := options{from: file}.results(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(measured(), got); d != "" {
		t.Errorf("what is read differs (-written +read):\n%s", d)
	}
}

func TestSourcesOfDpkg(t *testing.T) {
	var b built
	b.Sources = map[string]int{}
	b.countSources("Package: libssl3\nSource: openssl (3.0.1-1)\nVersion: 1\n\nPackage: openssl\nVersion: 1\n\nPackage: jq\n")
	if d := cmp.Diff(map[string]int{"openssl": 2, "jq": 1}, b.Sources); d != "" {
		t.Errorf("sources (-want +got):\n%s", d)
	}
}

// TestRecordsAreAboutAsMany checks that the generated advisories give about the requested number of
// findings, that none is critical, and that every id is unique.
func TestRecordsAreAboutAsMany(t *testing.T) {
	all := records(map[string]int{"openssl": 2, "jq": 1}, []string{"module-0"}, 10)
	findings, ids := 0, map[string]bool{}
	for _, r := range all {
		if ids[r.ID] {
			t.Errorf("%s is there twice", r.ID)
		}
		ids[r.ID] = true
		switch r.Affected[0].Package.Name {
		case "openssl":
			findings += 2
		case "jq", "module-0":
			findings++
		}
		if r.Specific["severity"] == "critical" {
			t.Errorf("%s is critical", r.ID)
		}
	}
	if findings < 10 || findings > 12 {
		t.Errorf("they make %d findings", findings)
	}
	if len(all) < unrelated {
		t.Errorf("there are %d records in all", len(all))
	}
}

func TestStagesLeaveTheRest(t *testing.T) {
	log := `{"msg":"pull","seconds":2.5,"bytes":1}` + "\n" + `{"msg":"warning"}` + "\n" + `{"msg":"push","seconds":1}` + "\n"
	got, err := stages([]byte(log), 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Stage{{Name: "pull", Seconds: 2.5}, {Name: "push", Seconds: 1}, {Name: "other", Seconds: 0.5}}, got); d != "" {
		t.Errorf("stages (-want +got):\n%s", d)
	}
	if _, err := stages([]byte("not JSON"), time.Second); err == nil {
		t.Error("a log that cannot be read is no error")
	}
}

func TestFindingsOfTrivyAreOfAllResults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trivy.json")
	report := `{"Results": [{"Target": "debian", "Vulnerabilities": [{}, {}]}, {"Target": "clean"}, {"Vulnerabilities": [{}]}]}`
	if err := os.WriteFile(file, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := trivyFindings(file); n != 3 || err != nil {
		t.Errorf("%d findings, %v", n, err)
	}
}
