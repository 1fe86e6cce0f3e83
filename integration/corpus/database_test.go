package corpus

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// advisory is one entry of advisories.yaml.
type advisory struct {
	ID         string `yaml:"id"`
	Alias      string `yaml:"alias"`
	Severity   string `yaml:"severity"`
	Ecosystem  string `yaml:"ecosystem"` // the name of the ecosystem in OSV
	Package    string `yaml:"package"`
	Introduced string `yaml:"introduced"` // the default is "0"
	Fixed      string `yaml:"fixed"`
}

// document returns the advisory as an OSV document.
func (a advisory) document() map[string]any {
	introduced := a.Introduced
	if introduced == "" {
		introduced = "0"
	}
	aliases := []string{}
	if a.Alias != "" {
		aliases = append(aliases, a.Alias)
	}
	events := []map[string]string{{"introduced": introduced}, {"fixed": a.Fixed}}
	return map[string]any{
		"schema_version": "1.6.0", "id": a.ID, "modified": createdText, "published": createdText, "aliases": aliases,
		"affected": []any{map[string]any{
			"package": map[string]string{"ecosystem": a.Ecosystem, "name": a.Package},
			"ranges":  []any{map[string]any{"type": "ECOSYSTEM", "events": events}},
		}},
		"database_specific": map[string]string{"severity": a.Severity},
	}
}

// database builds the database from examples/records and advisories.yaml, and imports it into
// imagegate and grype.
func (l *lab) database() {
	l.Helper()
	data, err := os.ReadFile("advisories.yaml")
	if err != nil {
		l.Fatal(err)
	}
	var doc struct {
		Advisories []advisory `yaml:"advisories"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		l.Fatalf("reading advisories.yaml: %v", err)
	}
	records := l.TempDir()
	if err := os.CopyFS(records, os.DirFS(filepath.Join("..", "..", "examples", "records"))); err != nil {
		l.Fatal(err)
	}
	folder := filepath.Join(records, "corpus")
	if err := os.Mkdir(folder, 0o755); err != nil {
		l.Fatal(err)
	}
	for _, a := range doc.Advisories {
		data, err := json.Marshal(a.document())
		if err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, a.ID+".json"), data, 0o644); err != nil {
			l.Fatal(err)
		}
	}
	archive := filepath.Join(l.TempDir(), "database.tar.gz")
	l.must("imagegate", "db", "build", records, "--to", archive)
	l.must("imagegate", "db", "import", archive)
	l.must("grype", "db", "import", archive)
}
