package html

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// load reads one of the golden reports of package report.
func load(t *testing.T, name string) report.Report {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "report", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, r report.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var dataBlock = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

// rows returns the data that the script of the page reads.
func rows(t *testing.T, page string) data {
	t.Helper()
	found := dataBlock.FindStringSubmatch(page)
	if found == nil {
		t.Fatal("the page has no data")
	}
	var d data
	if err := json.Unmarshal([]byte(found[1]), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// UnmarshalJSON reverses MarshalJSON.
func (t *table) UnmarshalJSON(text []byte) error {
	var columns map[string][]json.RawMessage
	if err := json.Unmarshal(text, &columns); err != nil {
		return err
	}
	for i := range columns["key"] {
		object := map[string]json.RawMessage{}
		for name, values := range columns {
			object[name] = values[i]
		}
		joined, err := json.Marshal(object)
		if err != nil {
			return err
		}
		row := new(dataItem)
		if err := json.Unmarshal(joined, row); err != nil {
			return err
		}
		*t = append(*t, row)
	}
	return nil
}

var reports = []string{"denied", "promoted", "undecided", "unfinished", "hostile"}

// TestGolden compares the pages with golden files. The style sheet and the script are removed
// first, because they are the same for every report.
func TestGolden(t *testing.T) {
	for _, name := range reports {
		t.Run(name, func(t *testing.T) {
			page := render(t, load(t, name))
			for _, part := range []string{style, script, hash(style), hash(script)} {
				if strings.Count(page, part) != 1 && !strings.Contains(page, strings.ReplaceAll(part, "+", "&#43;")) {
					t.Fatalf("the page lacks a part that begins with %.40q", part)
				}
				page = strings.Replace(strings.Replace(page, part, "", 1), strings.ReplaceAll(part, "+", "&#43;"), "", 1)
			}
			path := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), page); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestSameReportGivesTheSameBytes(t *testing.T) {
	for _, name := range reports {
		r := load(t, name)
		first, second := render(t, r), render(t, r)
		if first != second {
			t.Errorf("%s: two pages differ", name)
		}
	}
}

func TestCountsAreThoseOfTheReport(t *testing.T) {
	for _, name := range reports {
		r := load(t, name)
		page := render(t, r)
		want := r.Counts()
		var got report.Counts
		for _, i := range rows(t, page).Items {
			switch report.Status(i.Status) {
			case report.Blocking:
				got.Blocking++
			case report.Warning:
				got.Warnings++
			case report.Excepted:
				got.Excepted++
			case report.NotAffected:
				got.NotAffected++
			}
		}
		got.Packages = want.Packages
		if got != want {
			t.Errorf("%s: the rows count %+v, the report %+v", name, got, want)
		}
		var tiles []string
		for _, found := range regexp.MustCompile(`<a class="tile \w+[^>]*><strong>([0-9,]+)</strong>`).FindAllStringSubmatch(page, -1) {
			tiles = append(tiles, found[1])
		}
		if r.Decision == nil && len(tiles) != 0 {
			t.Errorf("%s: a run without a decision shows the counts %q", name, tiles)
		}
		if r.Decision != nil {
			shown := []string{thousands(want.Blocking), thousands(want.Warnings), thousands(want.Excepted), thousands(want.NotAffected)}
			if diff := cmp.Diff(shown, tiles); diff != "" {
				t.Errorf("%s: tiles (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestEachOutcomeHasItsOwnLook(t *testing.T) {
	outcomes := map[report.Outcome]string{
		report.Undecided: "failed", report.Unfinished: "failed", report.Denied: "denied", report.Passed: "passed", report.PassedEarlier: "passed",
		report.Overridden: "overridden", report.SignatureOnly: "signed",
	}
	for outcome, want := range outcomes {
		if got := look(outcome); got != want {
			t.Errorf("outcome %s looks %s: want %s", outcome, got, want)
		}
		if outcome.IsFailure() != (want == "failed") {
			t.Errorf("outcome %s: failure %v, but it looks %s", outcome, outcome.IsFailure(), want)
		}
		if icons[want].Path == "" {
			t.Errorf("%s has no icon", want)
		}
		if want != "failed" && !strings.Contains(style, "."+want+" { --verdict") {
			t.Errorf("the style sheet has no color for %s", want)
		}
	}
	if got := look(report.Outcome(200)); got != "failed" {
		t.Errorf("an unknown outcome looks %s: want failed", got)
	}
}

func TestFailureIsNeitherADenialNorAPass(t *testing.T) {
	for _, r := range []report.Report{{}, load(t, "undecided"), load(t, "unfinished")} {
		page := render(t, r)
		if !strings.Contains(page, `<body class="failed">`) || !strings.Contains(page, "<title>FAILED ·") {
			t.Errorf("%s: the page does not say that the run failed", r.Outcome())
		}
		body := page[strings.Index(page, "<body"):strings.Index(page, `<script type="application/json"`)]
		for _, word := range []string{"DENIED", "PASSED"} {
			if strings.Contains(body, word) {
				t.Errorf("%s: the page says %s", r.Outcome(), word)
			}
		}
	}
}

func TestKeysAreUniqueAndStable(t *testing.T) {
	r := load(t, "denied")
	before := map[string]string{}
	for _, i := range rows(t, render(t, r)).Items {
		if len(i.Key) != 16 || before[i.Key] != "" {
			t.Errorf("row %s has the key %q, and so has %q", i.Title, i.Key, before[i.Key])
		}
		before[i.Key] = i.Title
	}
	r.Input.Image.Digest, r.Input.Image.Reference = "sha256:0", "staging.example/team/app:2.0"
	for _, i := range rows(t, render(t, r)).Items {
		if before[i.Key] != i.Title {
			t.Errorf("row %s has the key %s for another image of the repository, which was the key of %q", i.Title, i.Key, before[i.Key])
		}
	}
}

func TestEveryRemedyIsShown(t *testing.T) {
	r := load(t, "denied")
	page := render(t, r)
	d := rows(t, page)
	for _, remedy := range report.Remedies(r) {
		if !strings.Contains(page, templateText(remedy.Do)) {
			t.Errorf("the page lacks the remedy %q", remedy.Do)
		}
	}
	for _, i := range d.Items {
		if (i.Status == int(report.Blocking)) != (i.Remedy >= 0) {
			t.Errorf("row %s of status %d has remedy %d", i.Title, i.Status, i.Remedy)
		}
	}
}

// templateText escapes text as html/template does.
func templateText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "+", "&#43;").Replace(s)
}

func TestCommandsHaveNoTextThatAShellInterprets(t *testing.T) {
	r := load(t, "promoted")
	for i := range r.Destinations {
		r.Destinations[i].Reference = "approved.example/app:1; rm -rf /"
	}
	r.Policy.File, r.Input.Image.Repository = "policy.yaml;reboot", "staging.example/$(reboot)"
	for _, c := range newIdentities(r).Commands {
		if strings.ContainsAny(c.Text, ";$()`|&<>'\"\\\n") {
			t.Errorf("command %q", c.Text)
		}
	}
	signed := load(t, "promoted").Destinations[0]
	signed.State = report.SignatureVerified
	if got, want := destinationChecks(&signed, false)[0].Text, "imagegate verify approved.example/team/app:1.2 --key cosign.pub --signature-only"; got != want {
		t.Errorf("command %q: want %q", got, want)
	}
	denied := load(t, "promoted").Destinations[0]
	if got, want := destinationChecks(&denied, true)[0].Text, "imagegate verify approved.example/team/app:1.2 --key cosign.pub --allow-override"; got != want {
		t.Errorf("command %q: want %q", got, want)
	}
	r = load(t, "promoted")
	r.Destinations[0].Signer = "ci@example.com (https://issuer.example)"
	commands := newIdentities(r).Commands
	want := []string{
		"imagegate verify approved.example/team/app:1.2 --certificate-identity ci@example.com --certificate-oidc-issuer https://issuer.example",
		"cosign verify-attestation --certificate-identity ci@example.com --certificate-oidc-issuer https://issuer.example --type spdxjson approved.example/team/app@" + r.Destinations[0].Digest,
		"imagegate verify mirror.example/team/app:1.2 --key cosign.pub",
		"cosign verify-attestation --key cosign.pub --insecure-ignore-tlog --type https://slsa.dev/verification_summary/v1 mirror.example/team/app@" + r.Destinations[1].Digest,
	}
	for _, text := range want {
		found := false
		for _, c := range commands {
			found = found || c.Text == text
		}
		if !found {
			t.Errorf("no command %q in %q", text, commands)
		}
	}
}

// fullDisk fails after some bytes.
type fullDisk struct{ left int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrorIsNotSwallowed(t *testing.T) {
	r := load(t, "denied")
	size := len(render(t, r))
	for _, left := range []int{0, size / 4, size / 2, size - 1} {
		if err := Write(&fullDisk{left}, r); !errors.Is(err, errFull) {
			t.Errorf("a disk with %d bytes left: error %v", left, err)
		}
	}
}

func TestFindingsWithoutARuleAreListed(t *testing.T) {
	r := report.Report{Schema: report.Schema, Decision: &policy.Decision{Passed: true, Allowed: []policy.Allowed{{Platform: "linux/amd64", Finding: evidence.Finding{ID: "CVE-1"}}}}}
	d := rows(t, render(t, r))
	if len(d.Items) != 1 || d.Items[0].Status != noRule || d.Items[0].Title != "CVE-1" {
		t.Errorf("rows %+v", d.Items)
	}
}

// TestScriptReadsEveryField checks that a new field of a row reaches the script.
func TestScriptReadsEveryField(t *testing.T) {
	fields := reflect.TypeFor[dataItem]()
	for n := range fields.NumField() {
		name := fields.Field(n).Tag.Get("json")
		if name != "key" && !strings.Contains(script, " "+name+": of."+name+"[n],") {
			t.Errorf("the script does not read the field %q", name)
		}
	}
}
