package release

import (
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
)

var (
	sum  = strings.Repeat("a", 64)
	ours = Release{Source: Source, Tag: "v1.2.3"}
	file = File{Name: "imagegate.zip", Digest: v1.Hash{Algorithm: "sha256", Hex: sum}}
)

func TestReleaseHasASourceAndATag(t *testing.T) {
	for _, r := range []Release{ours, {Source: "github.com/team/fork", Tag: "v2.0.0-rc.1"}} {
		if err := r.Check(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, r := range []Release{
		{}, {Source: Source}, {Source: Source, Tag: "1.2.3"}, {Source: Source, Tag: "main"}, {Source: Source, Tag: "v1.2.3/../x"}, {Source: Source, Tag: "v1.2.3\nv1"},
		{Source: "https://github.com/a/b", Tag: "v1.2.3"}, {Source: "github.com/a/b/c", Tag: "v1.2.3"}, {Source: "gitlab.example/a/b", Tag: "v1.2.3"},
	} {
		if r.Check() == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
}

func TestChecksumsAreRead(t *testing.T) {
	sums, err := parseChecksums([]byte(sum + "  a.zip\n" + sum + " *b c.zip\n"))
	if err != nil || len(sums) != 2 || sums["a.zip"].Hex != sum || sums["b c.zip"].Hex != sum {
		t.Errorf("%v, %v", sums, err)
	}
	for what, text := range map[string]string{
		"nothing":       "",
		"a blank line":  sum + "  a.zip\n\n" + sum + "  b.zip\n",
		"another kind":  strings.Repeat("a", 40) + "  a.zip\n",
		"upper case":    strings.ToUpper(sum) + "  a.zip\n",
		"a folder":      sum + "  ../a.zip\n",
		"no name":       sum + "  \n",
		"a name twice":  sum + "  a.zip\n" + strings.Repeat("b", 64) + "  a.zip\n",
		"a second line": sum + "  a.zip\r\n",
	} {
		if sums, err := parseChecksums([]byte(text)); err == nil {
			t.Errorf("%s: %v", what, sums)
		}
	}
}

// statement returns a statement about file, as GitHub signs it for the workflow of a release.
func statement(r Release) trust.Statement {
	id := r.Identity().Subject
	predicate, err := json.Marshal(map[string]any{
		"buildDefinition": map[string]any{
			"buildType":            "https://actions.github.io/buildtypes/workflow/v1",
			"externalParameters":   map[string]any{"workflow": map[string]string{"ref": r.ref(), "repository": "https://" + r.Source, "path": workflow}},
			"resolvedDependencies": []any{map[string]any{"uri": "git+https://" + r.Source + "@" + r.ref(), "digest": map[string]string{"gitCommit": "c0ffee"}}},
		},
		"runDetails": map[string]any{"builder": map[string]string{"id": id}},
	})
	if err != nil {
		panic(err)
	}
	return trust.Statement{PredicateType: provenanceType, Subjects: []trust.Subject{{Name: file.Name, Digest: file.Digest}}, Predicate: predicate}
}

func TestProvenanceNamesTheRelease(t *testing.T) {
	if commit, err := ours.built(statement(ours), file); err != nil || commit != "c0ffee" {
		t.Errorf("%q, %v", commit, err)
	}
	changed := func(from, to string) trust.Statement {
		st := statement(ours)
		if !strings.Contains(string(st.Predicate), from) {
			t.Fatalf("the provenance has no %q", from)
		}
		st.Predicate = []byte(strings.ReplaceAll(string(st.Predicate), from, to))
		return st
	}
	other := statement(ours)
	other.PredicateType = "https://slsa.dev/provenance/v0.2"
	renamed := statement(ours)
	renamed.Subjects[0].Name = "another.zip"
	for what, st := range map[string]trust.Statement{
		"another tag":        statement(Release{Source, "v1.2.4"}),
		"another source":     statement(Release{"github.com/team/fork", "v1.2.3"}),
		"another workflow":   changed("release.yml", "test.yml"),
		"another builder":    changed(`"builder":{"id":"https://github.com`, `"builder":{"id":"https://git.example`),
		"no commit":          changed("gitCommit", "sha1"),
		"another type":       other,
		"another name":       renamed,
		"something else":     {PredicateType: provenanceType, Subjects: statement(ours).Subjects, Predicate: []byte(`{}`)},
		"a wrong ref's type": changed(`"ref":"refs/tags/v1.2.3"`, `"ref":7`),
	} {
		if commit, err := ours.built(st, file); err == nil {
			t.Errorf("%s: %s", what, commit)
		}
	}
}
