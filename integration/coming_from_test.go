package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/lab"
)

const comingFrom = "../docs/coming-from/"

// shop is the image of the pages about other tools. It has an ignored vulnerability of bind9, and a
// version of json-schema.
func shop(platform, jsonSchema string) (v1.Image, error) {
	return lab.Image(lab.ImageSpec{
		Platform:    platform,
		OSRelease:   "debian 12",
		DebPackages: []lab.Deb{{Name: "bind9", Version: "1:9.18.1-1"}, {Name: "openssl", Version: "3.0.13-1~deb12u1"}},
		NPM:         []lab.NPM{{Name: "json-schema", Version: jsonSchema}},
		Files:       []lab.File{{Path: "platform", Content: platform}},
	})
}

const vulnerableSchema, fixedSchema = "0.3.0", "0.4.0"

// pushShop pushes three versions: 1.0 has a critical vulnerability, 1.1 does not have it, and in 1.2
// only the image for arm64 has it.
func pushShop(t *testing.T, to *lab.Registry, repository string) {
	t.Helper()
	built := map[string]v1.Image{}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		for _, version := range []string{vulnerableSchema, fixedSchema} {
			img, err := shop(platform, version)
			if err != nil {
				t.Fatal(err)
			}
			built[platform+version] = img
		}
	}
	index, err := lab.Index(built["linux/amd64"+fixedSchema], built["linux/arm64"+vulnerableSchema])
	if err != nil {
		t.Fatal(err)
	}
	for tag, what := range map[string]remote.Taggable{
		"1.0": built["linux/amd64"+vulnerableSchema], "1.1": built["linux/amd64"+fixedSchema], "1.2": index,
	} {
		if _, err := to.Push(t.Context(), repository+":"+tag, what); err != nil {
			t.Fatal(err)
		}
	}
}

// shopSession is the session of a page about another tool. staging.example has the shop, the other
// registries are empty, except for the project "staging" of harbor.example. grype and imagegate have
// the same database.
type shopSession struct {
	session
	staging, approved, mirror, harbor *lab.Registry
}

func newShop(t *testing.T) shopSession {
	t.Helper()
	s := shopSession{staging: registry(t, lab.Options{}), approved: registry(t, lab.Options{}), mirror: registry(t, lab.Options{}),
		harbor: registry(t, lab.Options{})}
	s.session = newSession(t, "staging.example", s.staging.Host(), "approved.example", s.approved.Host(),
		"mirror.example", s.mirror.Host(), "harbor.example", s.harbor.Host())
	pushShop(t, s.staging, "team/shop")
	pushShop(t, s.harbor, "staging/shop")
	s.env = append(s.env, "IMAGEGATE_CACHE_DIR="+database(t), "COSIGN_PASSWORD="+keyPassword,
		"GRYPE_DB_CACHE_DIR="+filepath.Join(shared, "grype"), "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false",
		"SYFT_CHECK_FOR_APP_UPDATE=false", "SYFT_PLATFORM=linux/amd64", "GRYPE_PLATFORM=linux/amd64")
	if code, log := s.bash(t, "grype db import '"+filepath.Join(shared, "database.tar.gz")+"'"); code != 0 {
		t.Fatalf("importing the database: exit code %d\n%s", code, log)
	}
	return s
}

// tags returns the tags of a repository, without the tags of signatures and statements.
func (s shopSession) tags(t *testing.T, in *lab.Registry, repository string) []string {
	t.Helper()
	repo, err := name.NewRepository(in.Ref(repository))
	if err != nil {
		t.Fatal(err)
	}
	all, err := remote.List(repo, remote.WithContext(t.Context()))
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(tag string) bool { return strings.HasPrefix(tag, "sha256-") })
}

// digest returns the digest of an image, or the empty text if the image does not exist.
func (s shopSession) digest(t *testing.T, in *lab.Registry, image string) string {
	t.Helper()
	ref, err := name.ParseReference(in.Ref(image))
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref, remote.WithContext(t.Context()))
	if isStatus(err, http.StatusNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// TestComingFromShellScript runs the old script and the new one. The old script promotes an index with
// a vulnerable image, and leaves an image without signature. The new one does neither.
func TestComingFromShellScript(t *testing.T) {
	s := newShop(t)
	s.run(t, readDocument(t, comingFrom+"shell-script.md"))
	if got := s.tags(t, s.approved, "old/shop"); !slices.Equal(got, []string{"1.1", "1.2"}) {
		t.Errorf("the old script promoted %q", got)
	}
	if got, want := s.digest(t, s.approved, "old/shop:1.2"), s.digest(t, s.staging, "team/shop:1.2"); got != want {
		t.Errorf("the old script promoted %s, not the vulnerable index %s", got, want)
	}
	if got := s.tags(t, s.approved, "team/shop"); !slices.Equal(got, []string{"1.1"}) {
		t.Errorf("imagegate promoted %q", got)
	}
	if signature := strings.Replace(s.digest(t, s.approved, "broken/shop:1.1"), ":", "-", 1) + ".sig"; s.digest(t, s.approved, "broken/shop:"+signature) != "" {
		t.Error("the interrupted script signed the image")
	}
}

// TestComingFromActions runs the commands of the pages about GitHub actions, and the imagegate step of
// their new workflows, on an image that is denied and on an image that passes.
func TestComingFromActions(t *testing.T) {
	for _, page := range []string{"trivy-action.md", "scan-action.md"} {
		t.Run(page, func(t *testing.T) {
			s := newShop(t)
			d := readDocument(t, comingFrom+page)
			s.run(t, d)
			if code, log := s.imagegate(t, "key", "generate"); code != 0 {
				t.Fatalf("making a key: exit code %d\n%s", code, log)
			}
			with := gateStep(t, d.file(t, ".github/workflows/promote.yml")).With
			for _, tc := range []struct {
				tag  string
				code int
			}{{"1.0", 2}, {"1.1", 0}} {
				args := s.action(t, with, map[string]string{"github.sha": tc.tag, "runner.temp": s.dir, "secrets.COSIGN_PASSWORD": keyPassword})
				if code, log := s.imagegate(t, args...); code != tc.code {
					t.Errorf("imagegate %q: exit code %d\n%s", args, code, log)
				}
				if _, err := os.Stat(filepath.Join(s.dir, "imagegate.sarif")); err != nil {
					t.Errorf("the workflow uploads a report: %v", err)
				}
			}
			if got := s.tags(t, s.approved, "team/shop"); !slices.Equal(got, []string{"1.1"}) {
				t.Errorf("the workflow promoted %q", got)
			}
		})
	}
}

// TestComingFromKpromo runs the list of images, and checks that it names the same images as kpromo's
// manifest.
func TestComingFromKpromo(t *testing.T) {
	s := newShop(t)
	d := readDocument(t, comingFrom+"kpromo.md")
	s.run(t, d)
	for _, to := range []*lab.Registry{s.approved, s.mirror} {
		if got := s.tags(t, to, "team/shop"); !slices.Equal(got, []string{"1.1", "1.1.0"}) {
			t.Errorf("imagegate promoted %q", got)
		}
	}
	var manifest []struct {
		Name   string              `yaml:"name"`
		Images map[string][]string `yaml:"dmap"`
	}
	if err := yaml.Unmarshal([]byte(d.file(t, "old/images/shop/images.yaml")), &manifest); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, image := range manifest {
		for digest, tags := range image.Images {
			for _, tag := range tags {
				want = append(want, image.Name+" "+digest+" "+tag)
			}
		}
	}
	got := strings.Split(strings.TrimSpace(d.file(t, "images.txt")), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the list has %q, and the manifest %q", got, want)
	}
}

func TestComingFromHarbor(t *testing.T) {
	s := newShop(t)
	d := readDocument(t, comingFrom+"harbor.md")
	s.run(t, d)
	if got := s.tags(t, s.harbor, "production/shop"); !slices.Equal(got, []string{"1.1"}) {
		t.Errorf("imagegate promoted %q", got)
	}
	var settings struct {
		Metadata  map[string]string `json:"metadata"`
		Allowlist struct {
			Items []struct {
				ID string `json:"cve_id"`
			} `json:"items"`
			Expires int64 `json:"expires_at"`
		} `json:"cve_allowlist"`
	}
	if err := json.Unmarshal([]byte(d.file(t, "old/project.json")), &settings); err != nil {
		t.Fatal(err)
	}
	policy := d.file(t, "policy.yaml")
	for _, want := range []string{"severity: " + settings.Metadata["severity"], "id: " + settings.Allowlist.Items[0].ID,
		"expires: " + time.Unix(settings.Allowlist.Expires, 0).UTC().Format(time.DateOnly)} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %q of the project", want)
		}
	}
}
