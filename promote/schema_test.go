package promote

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagegate/imagegate/internal/schemas"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/policy/evidence"
)

var update = flag.Bool("update", false, "write docs/schemas and the generated parts of docs/statements.md")

const statementsDoc = "../docs/statements.md"

// published maps each file in docs/schemas to the Go type that it describes. These types are the parts of
// signed statements that imagegate defines itself.
var published = map[string]struct {
	of    reflect.Type
	title string
	// find returns the part of a predicate that the schema describes. kind is the predicate type.
	kind string
	find func(predicate map[string]any) any
}{
	"decision-basis.v1.json": {reflect.TypeFor[DecisionBasis](), "imagegate_basis of a decision", DecisionType,
		func(p map[string]any) any { return p["imagegate_basis"] }},
	"scan-result.v1.json": {reflect.TypeFor[scanResult](), "scanner.result of a scan in cosign's form", ScanType,
		func(p map[string]any) any { return p["scanner"].(map[string]any)["result"] }},
	"scan-coverage.v1.json": {reflect.TypeFor[vulnsCoverage](), "imagegate_coverage of a scan in in-toto's form", VulnsType,
		func(p map[string]any) any { return p["imagegate_coverage"] }},
	"override.v1.json": {reflect.TypeFor[overridePredicate](), "predicate of an override", OverrideType(tool.URI),
		func(p map[string]any) any { return p }},
}

// tables are the generated field tables in docs/statements.md. A table omits the fields inside the
// fields in skip.
var tables = map[string]struct {
	of   reflect.Type
	skip []string
}{
	"decision":  {reflect.TypeFor[decisionPredicate](), []string{"imagegate_basis"}},
	"basis":     {reflect.TypeFor[DecisionBasis](), nil},
	"scan":      {reflect.TypeFor[scanPredicate](), []string{"scanner.result"}},
	"result":    {reflect.TypeFor[scanResult](), nil},
	"vulns":     {reflect.TypeFor[vulnsPredicate](), []string{"scanner.result[].annotations"}},
	"override":  {reflect.TypeFor[overridePredicate](), nil},
	"reference": {reflect.TypeFor[referencePredicate](), nil},
}

// field is a JSON field of a Go struct.
type field struct {
	name, text string
	of         reflect.Type
	optional   bool
}

// fields returns the JSON fields of a struct, including the fields of embedded structs.
func fields(t *testing.T, comments map[string]string, of reflect.Type) []field {
	t.Helper()
	var out []field
	for i := range of.NumField() {
		f := of.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			out = append(out, fields(t, comments, f.Type)...)
			continue
		}
		text := comments[of.Name()+"."+f.Name]
		if tag == "" || text == "" {
			t.Fatalf("%s.%s has no JSON key or no comment", of, f.Name)
		}
		out = append(out, field{tag, text, f.Type, strings.HasPrefix(options, "omit")})
	}
	return out
}

// plainComments describes fields of the evidence types whose Go comment is missing or is meant for
// readers of the Go code.
var plainComments = map[string]string{
	"Package.Name": "Name of the package.", "Package.Version": "Version of the package.", "Package.PURL": "Package URL (purl) of the package.",
	"Package.Found": "Files in the image that identify the package.", "Location.Path": "Path of the file in the image.",
	"Package.Type": "Type of the package, as syft names it: \"deb\", \"npm\", \"go-module\".", "Package.Licenses": "Licenses of the package: SPDX expressions if known, otherwise the declared texts.",
	"Location.Layer": "The diffID of the layer that contains the file, \"sha256:<hex>\".", "Fix.Version": "Fixed version.", "Fix.Available": "First day when the fixed version was available. Absent if unknown.",
	"Database.Built": "Time when the database was built.", "Database.Providers": "Upstream sources of the advisories in the database.", "Provider.Name": "Name of the upstream source, such as \"nvd\".",
	"Provider.Captured": "Time when the data of the upstream source was fetched.",
	"Advisories.Count":  "Number of advisories for the distribution or package type.", "Unknown.Cataloger": "Name of the cataloger that failed.", "Unknown.Reason": "Error message of the cataloger.",
	"Unmatched.Package": "Package that could not be matched. Absent if the entry is about a package type or a distribution.", "Unmatched.Reason": "Reason why the package, package type or distribution could not be matched.", "Unmatched.Detail": "More details about the reason.",
	"Unmatched.Packages": "Number of packages of the package type.", "Override.Reason": "Reason for the override.", "Distribution.Version": "VERSION_ID in os-release, such as \"12\".",
	"GrantedOverride.Violations": "Violations of the denial.", "Overridden.Kind": "Kind of the violation, such as \"vulnerability\".",
	"Overridden.Rule": "Name of the violated rule.", "Overridden.Message": "Message of a violation that is not about a finding. The message may quote text from the image.",
	"Signer.Subject": "Identity in the certificate of the signer. Absent for a key.", "Signer.Issuer": "OpenID Connect issuer of the identity. Absent for a key.",
	"Signer.Key":      "Fingerprint of the public key: \"sha256:<hex>\" of its DER form (SubjectPublicKeyInfo). Absent for an identity.",
	"Database.Schema": "Schema version of the database, such as \"6.1.9\".", "Advisories.Type": "Package type, such as \"npm\". Absent for a distribution.",
	"Database.Source":         "Origin of the database: a URL without credentials, or the base name of a file.",
	"Database.Advisories":     "Number of advisories for the distribution and for each package type of the image.",
	"Advisories.Distribution": "Distribution and release, such as \"debian 12\". Absent for a package type.",
	"Advisories.AtLeast":      "True if counting stopped at a limit, so the database can have more advisories than count.",
	"Advisories.ByCPE":        "True if the database has no advisories for the package type itself. Then count is the number of all advisories by CPE.",
	"Distribution.ID":         "ID in os-release, such as \"debian\".", "Distribution.Name": "PRETTY_NAME in os-release.",
	"Distribution.EndOfLife": "First day when the vendor publishes no more advisories. Absent if the database does not state it.",
	"Unknown.Class":          "Kind of the file, such as \"package database\" or \"archive\". Default: any other file.",
	"Unknown.Package":        "Purl of the package in the SBOM that the file belongs to. Absent if the file belongs to no package.",
	"Unmatched.Type":         "Package type without advisories in the database. Absent for other reasons.",
	"Unmatched.Owner":        "Purl of the package that contains the unmatched package.",
	"Overridden.ID":          "ID of the finding. Absent if the violation is not about a finding.", "Overridden.Platform": "Platform of the violation. Absent if the violation is about the whole image.",
	"Overridden.Package": "Purl of the package, or name@version if the package has no purl. Absent if the violation is not about a package.",
	"Override.Expires":   "First time when the override no longer applies.", "GrantedOverride.Granted": "Time when the override was used.",
	"Override.Approver": "Name of the approver, as stated by the user who ran imagegate.",
}

// fieldComments returns a description of each struct field, made from its comment. The keys have
// the form "Type.Field".
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, dir := range []string{".", "../policy", "../policy/evidence"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if body, ok := spec.Type.(*ast.StructType); ok {
					describe(out, spec.Name.Name, body)
				}
				return false
			})
		}
	}
	maps.Copy(out, plainComments)
	return out
}

func describe(out map[string]string, of string, body *ast.StructType) {
	for _, f := range body.Fields.List {
		text := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
		for _, id := range f.Names {
			// A Go comment begins with the name of the field, but a description does not.
			text := regexp.MustCompile("^"+id.Name+" (is|means) (that )?").ReplaceAllString(text, "")
			if text == "" {
				continue
			}
			if text = strings.ToUpper(text[:1]) + text[1:]; !strings.HasSuffix(text, ".") {
				text += "."
			}
			out[of+"."+id.Name] = text
		}
	}
}

// schemaOf returns the JSON Schema of a type. The schema allows unknown fields, because readers
// ignore them.
func schemaOf(t *testing.T, comments map[string]string, of reflect.Type) map[string]any {
	t.Helper()
	switch {
	case of == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case of == reflect.TypeFor[evidence.Severity](), of == reflect.TypeFor[evidence.FixState]():
		return map[string]any{"type": "string"}
	case of.Kind() == reflect.Pointer:
		return schemaOf(t, comments, of.Elem())
	case of.Kind() == reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": schemaOf(t, comments, of.Elem())}
	case of.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t, comments, of.Elem())}
	case of.Kind() != reflect.Struct:
		return map[string]any{"type": map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Bool: "boolean", reflect.Float64: "number"}[of.Kind()]}
	}
	properties, required := map[string]any{}, []string{}
	for _, f := range fields(t, comments, of) {
		one := schemaOf(t, comments, f.of)
		one["description"] = f.text
		if f.name == "schemaVersion" {
			one["const"] = SchemaVersion
		}
		properties[f.name] = one
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// TestSchemasAreCurrent checks that docs/schemas describes exactly the fields of the types, and
// that signed statements are valid. Run it with -update to write the files.
func TestSchemasAreCurrent(t *testing.T) {
	comments := fieldComments(t)
	signed := signedPredicates(newWorld(t))
	for file, s := range published {
		document := schemaOf(t, comments, s.of)
		document["$schema"], document["title"] = "https://json-schema.org/draft/2020-12/schema", s.title
		var want bytes.Buffer
		out := json.NewEncoder(&want)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		if err := out.Encode(document); err != nil {
			t.Fatal(err)
		}
		current(t, filepath.Join("../docs/schemas", file), want.Bytes())
		compiled := compileSchema(t, want.Bytes())
		if len(signed[s.kind]) == 0 {
			t.Errorf("no %s was signed", s.kind)
		}
		for _, predicate := range signed[s.kind] {
			if err := compiled.Validate(s.find(predicate)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func compileSchema(t *testing.T, raw []byte) *jsonschema.Schema {
	t.Helper()
	s, err := schemas.Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// current fails the test if a file does not have the content want. With -update it writes the file
// instead.
func current(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(have)); diff != "" {
		t.Errorf("%s is out of date: run go test ./promote -run 'TestSchemas|TestStatements' -update\n%s", file, diff)
	}
}

// documented promotes one image with an override and one with an exception. It returns their
// verified statements.
func documented(w *world) []Document {
	w.Helper()
	denied, passed := w.tag("denied:1"), w.tag("app:1")
	w.overridden(w.having("linux/amd64", oldSSL), denied)
	w.parse(fmt.Sprintf(`
version: 1
name: production
rules:
  - name: nothing medium
    severity: medium
exceptions:
  - id: CVE-2024-0727
    reason: the parser is not reachable
    owner: team-a
    expires: %s
`, time.Now().AddDate(0, 1, 0).Format(time.DateOnly)))
	if _, err := w.promoter().Promote(w.Context(), w.approve(w.having("linux/amd64", oldSSL)), passed); err != nil {
		w.Fatal(err)
	}
	large := w.tag("large:1")
	if _, err := w.promoter(func(o *Options) { o.Inline = 1 }).Promote(w.Context(), w.approve(w.having("linux/arm64", oldSSL)), large); err != nil {
		w.Fatal(err)
	}
	var out []Document
	for _, tag := range []name.Tag{passed, denied, large} {
		out = append(out, w.evidence(tag)...)
	}
	return out
}

func (w *world) evidence(tag name.Tag) []Document {
	w.Helper()
	v, err := NewVerifier(VerifierOptions{Now: time.Now})
	if err != nil {
		w.Fatal(err)
	}
	_, documents, err := v.Evidence(w.Context(), tag, w.trustingOwnKey())
	if err != nil {
		w.Fatal(err)
	}
	return documents
}

// decoded returns the signed in-toto statement of a document.
func decoded(t *testing.T, d Document) map[string]any {
	t.Helper()
	var envelope struct {
		Payload string `json:"payload"`
	}
	if err := json.Unmarshal(d.DSSE, &envelope); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(payload, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func signedPredicates(w *world) map[string][]map[string]any {
	w.Helper()
	out := map[string][]map[string]any{}
	for _, d := range documented(w) {
		out[d.PredicateType] = append(out[d.PredicateType], decoded(w.T, d)["predicate"].(map[string]any))
	}
	return out
}

// generated matches the generated parts of docs/statements.md.
var generated = regexp.MustCompile(`(?s)<!-- (fields|example): (\w+) -->\n.*?<!-- end -->`)

// TestStatementsDocumentIsCurrent checks that docs/statements.md describes every field, and that
// its examples have exactly the fields of signed statements. Run it with -update to write both.
func TestStatementsDocumentIsCurrent(t *testing.T) {
	have, err := os.ReadFile(statementsDoc)
	if err != nil {
		t.Fatal(err)
	}
	comments := fieldComments(t)
	signed := signedPredicates(newWorld(t))
	kinds := map[string]string{"decision": DecisionType, "scan": ScanType, "vulns": VulnsType, "override": OverrideType(tool.URI), "reference": ReferenceType}
	seen := map[string]bool{}
	want := generated.ReplaceAllFunc(have, func(part []byte) []byte {
		m := generated.FindSubmatch(part)
		what, of := string(m[1]), string(m[2])
		seen[what+of] = true
		var body string
		if what == "fields" {
			body = "| field | present | content |\n|---|---|---|\n" + fieldTable(t, comments, tables[of].of, "", tables[of].skip)
		} else {
			body = example(t, part, signed[kinds[of]][0])
		}
		return fmt.Appendf(nil, "<!-- %s: %s -->\n%s<!-- end -->", what, of, body)
	})
	if len(seen) != len(tables)+len(kinds) {
		t.Errorf("the document has only %v", seen)
	}
	current(t, statementsDoc, want)
}

func fieldTable(t *testing.T, comments map[string]string, of reflect.Type, prefix string, skip []string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range fields(t, comments, of) {
		present, path := "always", prefix+f.name
		if f.optional {
			present = "optional"
		}
		element := f.of
		for element.Kind() == reflect.Slice || element.Kind() == reflect.Pointer {
			if element.Kind() == reflect.Slice {
				path += "[]"
			}
			element = element.Elem()
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, present, strings.NewReplacer("|", `\|`, "<", `\<`).Replace(f.text))
		if element.Kind() == reflect.Struct && element != reflect.TypeFor[time.Time]() && !slices.Contains(skip, strings.TrimSuffix(path, "[]")) {
			b.WriteString(fieldTable(t, comments, element, path+".", skip))
		}
	}
	return b.String()
}

// example returns the example in docs/statements.md if it has the same fields as the signed
// predicate. Otherwise it returns the signed predicate.
func example(t *testing.T, part []byte, signed map[string]any) string {
	t.Helper()
	text := part[bytes.IndexByte(part, '\n')+1 : bytes.LastIndex(part, []byte("<!--"))]
	old := bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("```json\n")), []byte("```\n"))
	var have any
	if json.Unmarshal(old, &have) == nil && cmp.Equal(keys("", have), keys("", signed)) {
		return string(text)
	}
	var raw bytes.Buffer
	out := json.NewEncoder(&raw)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(signed); err != nil {
		t.Fatal(err)
	}
	// Replace the names of the test's registries, because their ports differ in each run.
	named := regexp.MustCompile(`localhost:\d+`).ReplaceAll(raw.Bytes(), []byte("staging.example"))
	named = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll(named, []byte("approved.example"))
	return "```json\n" + string(named) + "```\n"
}

// keys returns the paths of all fields in a value, sorted and without duplicates.
func keys(path string, value any) []string {
	var out []string
	switch value := value.(type) {
	case map[string]any:
		for key, below := range value {
			out = append(append(out, path+"."+key), keys(path+"."+key, below)...)
		}
	case []any:
		for _, below := range value {
			out = append(out, keys(path+"[]", below)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// promoted promotes an image and returns its decision as decoded JSON.
func promoted(w *world) (tag name.Tag, digest v1.Hash, decision map[string]any) {
	w.Helper()
	tag = w.tag("app:1")
	a := w.approve(w.image("x"))
	if _, err := w.promoter().Promote(w.Context(), a, tag); err != nil {
		w.Fatal(err)
	}
	for _, d := range w.evidence(tag) {
		if d.PredicateType == DecisionType {
			decision = decoded(w.T, d)["predicate"].(map[string]any)
		}
	}
	return tag, a.Image().Digest, decision
}

// TestVerifyRefusesAnUnknownDecisionVersion checks that an image is refused if it has a decision of
// imagegate with another version or without a version, even if an earlier decision is a pass. A
// decision for another repository or by another program does not cause a refusal.
func TestVerifyRefusesAnUnknownDecisionVersion(t *testing.T) {
	basis := func(d map[string]any) map[string]any { return d["imagegate_basis"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(d map[string]any)
		want   string
	}{
		"newer version":                    {func(d map[string]any) { basis(d)["schemaVersion"] = 2 }, "imagegate_basis has schemaVersion 2, but this release of imagegate reads 1: use a newer imagegate"},
		"newer version with other fields":  {func(d map[string]any) { d["imagegate_basis"] = map[string]any{"schemaVersion": 2, "tags": "x"} }, "use a newer imagegate"},
		"version as text":                  {func(d map[string]any) { basis(d)["schemaVersion"] = "2" }, "imagegate_basis has no schemaVersion"},
		"extension of another type":        {func(d map[string]any) { d["imagegate_basis"] = []any{} }, "imagegate_basis has no schemaVersion"},
		"extension is null":                {func(d map[string]any) { d["imagegate_basis"] = nil }, "imagegate_basis has no schemaVersion"},
		"no version":                       {func(d map[string]any) { delete(basis(d), "schemaVersion") }, "imagegate_basis has no schemaVersion"},
		"newer version, other repository":  {func(d map[string]any) { basis(d)["schemaVersion"] = 2; d["resourceUri"] = "oci://other.example/app" }, ""},
		"another program, no extension":    {func(d map[string]any) { delete(d, "imagegate_basis") }, ""},
		"this version with unknown fields": {func(d map[string]any) { basis(d)["addedLater"] = true; d["timeVerified"] = time.Now().UTC() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tag, digest, decision := promoted(w)
			decision["timeVerified"] = time.Now().UTC().Add(-time.Hour) // An older decision with an unknown version is also refused.
			c.change(decision)
			raw, err := encode(decision)
			if err != nil {
				t.Fatal(err)
			}
			w.attachPredicate(w.signer, trust.Legacy, tag.Context(), digest, DecisionType, raw)
			_, err = w.verify(tag, w.trusting(w.signer.PublicKey()))
			if c.want != "" {
				w.unproven(name, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestVerifyRefusesAnUnknownOverrideVersion checks that an override with another version does not
// count, and that the error states this.
func TestVerifyRefusesAnUnknownOverrideVersion(t *testing.T) {
	for kind, want := range map[string]string{
		tool.URI + "/override/v2": "use a newer imagegate",
		tool.URI + "/override":    "has no version in its type",
	} {
		w := newWorld(t)
		tag := w.tag("app:1")
		a := w.overridden(w.having("linux/amd64", oldSSL), tag)
		without, _ := w.statementsOf(tag.Context(), a.Image().Digest, OverrideType(tool.URI))
		w.putStatements(tag.Context(), a.Image().Digest, without)
		w.attach(w.signer, trust.Legacy, tag.Context(), a.Image().Digest, kind)
		_, err := w.verify(tag, w.trustingOwnKey())
		w.unproven(kind, err, want)
	}
}

// TestDocumentedCheckInPython checks that the Python example in docs/statements.md accepts a pass.
// It must refuse another repository, another policy, an old decision, a denial and another key.
func TestDocumentedCheckInPython(t *testing.T) {
	for _, program := range []string{"python3", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	text, err := os.ReadFile(statementsDoc)
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	if script == nil {
		t.Fatal("there is no example")
	}
	w := newWorld(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	public := func(s *trust.Signer) []byte {
		der, err := x509.MarshalPKIXPublicKey(s.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	var decisions []string // a pass, then a denial
	var digest string
	for _, d := range documented(w) {
		if d.PredicateType == DecisionType {
			decisions = append(decisions, file(fmt.Sprintf("%d.dsse.json", len(decisions)), d.DSSE))
		}
		if len(decisions) == 1 && d.PredicateType == DecisionType {
			digest = d.Subject
		}
	}
	check, key, other := file("check.py", script[1]), file("gate.pub", public(w.signer)), file("other.pub", public(newSigner(t)))
	repo := w.tag("app:1").Context().Name()
	for _, c := range []struct {
		name string
		args []string
		want bool
	}{
		{"pass", []string{decisions[0], key, digest, repo, "production"}, true},
		{"denial", []string{decisions[1], key, digest, repo, "production"}, false},
		{"another key", []string{decisions[0], other, digest, repo, "production"}, false},
		{"another image", []string{decisions[0], key, "sha256:" + strings.Repeat("0", 64), repo, "production"}, false},
		{"another repository", []string{decisions[0], key, digest, "other.example/app", "production"}, false},
		{"another policy", []string{decisions[0], key, digest, repo, "development"}, false},
	} {
		out, err := exec.CommandContext(t.Context(), "python3", append([]string{check}, c.args...)...).CombinedOutput()
		if (err == nil) != c.want {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
}
