package html

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

// data is what the script reads: the items of the report and the findings that no rule matched.
// Packages, layers, rules, platforms and descriptions are listed once, and items name them by index.
type data struct {
	Platforms []string      `json:"platforms"`
	Layers    []dataLayer   `json:"layers"`
	Packages  []dataPackage `json:"packages"`
	Rules     []string      `json:"rules"`
	Sources   []dataSource  `json:"sources"`
	Texts     []string      `json:"texts"`
	Remedies  []dataRemedy  `json:"remedies"`
	Items     table         `json:"items"`
}

// table is the list of rows. In JSON it is one list for each field, which is half as long as a list
// of objects.
type table []*dataItem

// MarshalJSON writes an object that has a list for each field of the rows, by the field's JSON name.
func (t table) MarshalJSON() ([]byte, error) {
	columns := map[string][]any{}
	fields := reflect.TypeFor[dataItem]()
	for n := range fields.NumField() {
		values := make([]any, len(t))
		for i, row := range t {
			values[i] = reflect.ValueOf(row).Elem().Field(n).Interface()
		}
		columns[fields.Field(n).Tag.Get("json")] = values
	}
	return json.Marshal(columns)
}

// dataLayer is one layer of one platform.
type dataLayer struct {
	Platform string `json:"platform"`
	// Number is 1 for the lowest of Count layers.
	Number int    `json:"number"`
	Count  int    `json:"count"`
	Base   bool   `json:"base"`
	Digest string `json:"digest"`
}

// dataPackage is one package in one version.
type dataPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`
	PURL    string `json:"purl"`
	// Places are the paths of items that have no list of their own.
	Places []string `json:"places,omitempty"`
}

// dataSource is a source of findings in the database.
type dataSource struct {
	Name string `json:"name"`
	// URL is the address of an advisory up to the id, or empty.
	URL string `json:"url,omitempty"`
}

// dataRemedy says what to do. Paste means that Do is a command or a line for a file.
type dataRemedy struct {
	Do    string `json:"do"`
	Paste bool   `json:"paste"`
}

// The status of a finding that no rule matched follows the values of report.Status.
const noRule = int(report.NotAffected) + 1

// dataItem is one row. A field without a value is empty in JSON. Package, Layer, Rule, Text, Remedy and Source are indexes, or -1 if there is none.
type dataItem struct {
	Key      string `json:"key"`    // identifies the row in links
	Status   int    `json:"status"` // a report.Status, or noRule
	Kind     string `json:"kind"`
	Severity int    `json:"severity"` // a policy.Severity, or -1 if the item is not a finding
	// Title is the id of the finding, or the message of another item. Kind is the kind of the
	// latter.
	Title   string   `json:"title"`
	Aliases []string `json:"aliases"`
	Package int      `json:"package"`
	Rule    int      `json:"rule"`
	// Fix is the version with the fix, or a sentence if there is none.
	Fix       string   `json:"fix"`
	Fixable   bool     `json:"fixable"`
	EPSS      float64  `json:"epss"`
	CVSS      float64  `json:"cvss"`
	KEV       string   `json:"kev"`
	Platforms []int    `json:"platforms"`
	Origin    string   `json:"origin"` // "base", "own" or "" if unknown
	Layer     int      `json:"layer"`
	Places    []string `json:"places"`
	URL       string   `json:"url"`
	Text      int      `json:"text"`
	Remedy    int      `json:"remedy"`
	Published string   `json:"published"`
	// Source is an index. URL is set if the source's address does not lead to the advisory.
	Source    int    `json:"source"`
	Blocks    string `json:"blocks"`
	Inherited bool   `json:"inherited"`
	// Novelty is "new" or "known" by comparison with the approved image, or "" without one.
	Novelty string `json:"novelty"`
	// Because says why the item does not block: the exception or the statement.
	Because string `json:"because"`
	// Expired says which exceptions used to cover the item.
	Expired []string `json:"expired"`
}

// maxPlaces limits the paths of one item.
const maxPlaces = 20

// builder collects the data of a report.
type builder struct {
	data
	report    report.Report
	known     func(platform string, f *policy.Finding) bool
	keys      map[string]bool
	platforms index
	packages  index
	rules     index
	texts     index
	sources   index
	remedies  map[string]int    // by problem
	layers    map[[2]string]int // by platform and diffID
	bases     map[string]bool   // platforms whose base layers are known
}

// index numbers texts in the order of their first appearance.
type index map[string]int

// at returns the number of a text, and whether it is new.
func (x *index) at(s string) (int, bool) {
	if n, ok := (*x)[s]; ok {
		return n, false
	}
	if *x == nil {
		*x = index{}
	}
	n := len(*x)
	(*x)[s] = n
	return n, true
}

func newBuilder(r report.Report) *builder {
	b := &builder{report: r, keys: map[string]bool{}}
	// Empty lists, because the script does not expect null.
	b.data = data{Platforms: []string{}, Layers: []dataLayer{}, Packages: []dataPackage{}, Rules: []string{}, Sources: []dataSource{}, Texts: []string{}, Remedies: []dataRemedy{}, Items: table{}}
	if r.Input.Baseline != nil {
		b.known = r.Input.Baseline.Lookup()
	}
	b.addLayers()
	return b
}

// newData returns the rows for the items, and for the findings that no rule matched.
func newData(r report.Report, items []report.Item, remedies []report.Remedy) *data {
	b := newBuilder(r)
	b.addRemedies(remedies)
	for i := range items {
		b.add(&items[i], int(items[i].Status))
	}
	allowed := r.AllowedItems()
	slices.SortStableFunc(allowed, byUrgency)
	for i := range allowed {
		b.add(&allowed[i], noRule)
	}
	return &b.data
}

// byUrgency orders items within a status: causes that are not findings, then known exploited
// findings, then by severity with unknown first, then by EPSS score.
func byUrgency(a, b report.Item) int {
	return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(urgency(&b), urgency(&a)), cmp.Compare(epss(&b), epss(&a)))
}

func urgency(i *report.Item) int {
	if i.Finding == nil {
		return 200
	}
	level := int(i.Finding.Severity)
	if i.Finding.Severity == policy.SeverityUnknown {
		level = int(policy.SeverityCritical) + 1
	}
	if i.Finding.KEV != nil {
		level += 100
	}
	return level
}

func epss(i *report.Item) float64 {
	if i.Finding == nil || i.Finding.EPSS == nil {
		return 0
	}
	return i.Finding.EPSS.Score
}

// addLayers lists the layers of every platform.
func (b *builder) addLayers() {
	b.layers, b.bases = map[[2]string]int{}, map[string]bool{}
	for _, p := range b.report.Input.Platforms {
		for n, l := range p.Layers {
			b.bases[p.Platform] = b.bases[p.Platform] || l.FromBase
			b.layers[[2]string{p.Platform, l.DiffID}] = len(b.Layers)
			b.Layers = append(b.Layers, dataLayer{Platform: name(p.Platform), Number: n + 1, Count: len(p.Layers), Base: l.FromBase, Digest: digest(l.Digest)})
		}
	}
}

// addRemedies lists the remedies, and which problem each one solves.
func (b *builder) addRemedies(all []report.Remedy) {
	b.remedies = map[string]int{}
	for n, remedy := range all {
		do := prose(remedy.Do)
		b.Remedies = append(b.Remedies, dataRemedy{Do: do, Paste: remedy.Paste && do == remedy.Do})
		for _, v := range remedy.Violations {
			if v >= 0 && v < len(b.report.Decision.Violations) {
				b.remedies[problem(&b.report.Decision.Violations[v])] = n
			}
		}
	}
}

// problem identifies a violation on one platform.
func problem(v *policy.Violation) string {
	parts := []string{v.Platform, v.Rule, v.Message}
	if v.Finding != nil {
		parts = append(parts, v.Finding.ID, packageKey(&v.Finding.Package))
	}
	return strings.Join(parts, "\x00")
}

// add adds the row of one item.
func (b *builder) add(i *report.Item, status int) {
	row := &dataItem{
		Key: b.key(i), Status: status, Severity: -1, Title: prose(i.Message), Package: -1, Rule: -1, Text: -1, Layer: -1, Remedy: -1, Source: -1,
		Platforms: []int{}, Inherited: i.Inherited, Because: because(i),
	}
	for _, p := range i.Platforms {
		n, isNew := b.platforms.at(p)
		if isNew {
			b.Platforms = append(b.Platforms, name(p))
		}
		row.Platforms = append(row.Platforms, n)
	}
	if i.Rule != "" {
		n, isNew := b.rules.at(ruleText(&i.Violation))
		if isNew {
			b.Rules = append(b.Rules, ruleText(&i.Violation))
		}
		row.Rule = n
	}
	if !i.Blocks.IsZero() {
		row.Blocks = date(i.Blocks)
	}
	for _, e := range i.Expired[:min(len(i.Expired), maxPlaces)] {
		row.Expired = append(row.Expired, exceptionText(&e))
	}
	if n, ok := b.remedies[problem(&i.Violation)]; ok && status == int(report.Blocking) {
		row.Remedy = n
	}
	b.addPackage(row, i)
	b.addFinding(row, i)
	b.Items = append(b.Items, row)
}

// key returns a short fingerprint that no other row has. It stays the same for another tag, digest
// or version, unless several rows have the same fingerprint.
func (b *builder) key(i *report.Item) string {
	const length = 16
	repository := b.report.Input.Image.Repository
	key := i.Fingerprint(repository)[:length]
	for more := []string{i.Status.String()}; b.keys[key]; more = append(more, "") {
		if p := i.Subject(); p != nil && len(more) == 1 {
			more = append(more, p.Version)
		}
		key = i.Fingerprint(repository, more...)[:length]
	}
	b.keys[key] = true
	return key
}

// addPackage sets package, layer and places.
func (b *builder) addPackage(row *dataItem, i *report.Item) {
	var found []policy.Location
	if p := i.Subject(); p != nil {
		n, isNew := b.packages.at(packageKey(p))
		if isNew {
			b.Packages = append(b.Packages, dataPackage{Name: name(p.Name), Version: name(p.Version), Type: name(p.Type), PURL: name(p.PURL)})
		}
		row.Package, found = n, p.Found
	} else if i.Unknown != nil {
		found = []policy.Location{i.Unknown.Location}
	}
	row.Origin, row.Layer = b.origin(i.Platform, found)
	if len(i.Places) > 0 {
		found = i.Places
	}
	var places []string
	for _, l := range found[:min(len(found), maxPlaces)] {
		places = append(places, name(l.Path))
	}
	if row.Package < 0 {
		row.Places = places
		return
	}
	p := &b.Packages[row.Package]
	if p.Places == nil {
		p.Places = places
	} else if !slices.Equal(p.Places, places) {
		row.Places = places
	}
}

// origin returns whose layers the places are in, and the index of the first layer. A package that is
// in an own layer as well counts as own. Without known base layers nothing is said.
func (b *builder) origin(platform string, found []policy.Location) (origin string, layer int) {
	layer = -1
	for _, l := range found {
		n, ok := b.layers[[2]string{platform, l.Layer}]
		if !ok {
			continue
		}
		if layer < 0 {
			layer = n
		}
		switch {
		case !b.bases[platform]:
		case !b.Layers[n].Base:
			origin = "own"
		case origin == "":
			origin = "base"
		}
	}
	return origin, layer
}

// addFinding sets what only findings have.
func (b *builder) addFinding(row *dataItem, i *report.Item) {
	f := i.Finding
	if f == nil {
		row.Kind = kindName(i)
		return
	}
	row.Severity, row.Title = int(f.Severity), name(f.ID)
	for _, a := range f.Aliases[:min(len(f.Aliases), maxPlaces)] {
		row.Aliases = append(row.Aliases, name(a))
	}
	row.Fix, row.Fixable = fixText(f)
	row.EPSS = epss(i)
	b.addSource(row, f)
	for _, c := range f.CVSS {
		row.CVSS = max(row.CVSS, c.Score)
	}
	row.KEV = kevText(f.KEV)
	if !f.Published.IsZero() {
		row.Published = date(f.Published)
	}
	if f.Description != "" {
		text := prose(f.Description)
		n, isNew := b.texts.at(text)
		if isNew {
			b.Texts = append(b.Texts, text)
		}
		row.Text = n
	}
	if b.known != nil {
		row.Novelty = "known"
		if isNew(i, b.known) {
			row.Novelty = "new"
		}
	}
}

// addSource sets the source of a finding and the address of its advisory. Most addresses end with
// the id, so that the source has the rest.
func (b *builder) addSource(row *dataItem, f *policy.Finding) {
	s := dataSource{Name: name(f.Namespace)}
	url := link(f.URL)
	if start, ok := strings.CutSuffix(url, row.Title); ok {
		s.URL, url = start, ""
	}
	n, isNew := b.sources.at(s.Name + "\x00" + s.URL)
	if isNew {
		b.Sources = append(b.Sources, s)
	}
	row.Source, row.URL = n, url
}

// isNew reports whether the approved image lacks the finding on any platform with the item.
func isNew(i *report.Item, known func(string, *policy.Finding) bool) bool {
	return len(i.Platforms) == 0 || slices.ContainsFunc(i.Platforms, func(p string) bool { return !known(p, i.Finding) })
}

func packageKey(p *policy.Package) string {
	return strings.Join([]string{p.Type, p.Name, p.Version}, "\x00")
}

// fixText returns the version with the fix, or a sentence without one.
func fixText(f *policy.Finding) (text string, fixable bool) {
	switch f.FixState {
	case policy.FixAvailable:
		var versions []string
		for _, fix := range f.Fixes[:min(len(f.Fixes), maxPlaces)] {
			versions = append(versions, name(fix.Version))
		}
		return cmp.Or(strings.Join(versions, " or "), "unknown version"), true
	case policy.FixNone:
		return "not fixed", false
	case policy.FixWont:
		return "will not be fixed", false
	}
	return "unknown", false
}

func kevText(k *policy.KEV) string {
	if k == nil {
		return ""
	}
	text := "Listed in CISA's catalog of known exploited vulnerabilities"
	if !k.Added.IsZero() {
		text += " since " + date(k.Added)
	}
	if k.Ransomware {
		text += "; used by ransomware"
	}
	return text
}

// because says why an item does not block.
func because(i *report.Item) string {
	switch {
	case i.Exception != nil:
		return "Exception " + exceptionText(i.Exception)
	case i.Statement != nil:
		s := i.Statement
		text := "VEX statement " + name(string(s.Status))
		if s.Justification != "" {
			text += " (" + name(s.Justification) + ")"
		}
		if by := statementSource(s); by != "" {
			text += " by " + by
		}
		if s.Impact != "" {
			text += ": " + prose(s.Impact)
		}
		return text
	}
	return ""
}

func exceptionText(e *policy.Exception) string {
	return "of " + name(e.Owner) + " until " + date(e.Expires) + ": " + prose(e.Reason)
}

// statementSource names the signer of a statement, or the author that it states.
func statementSource(s *policy.VEXStatement) string {
	switch {
	case s.Signer != nil:
		return name(s.Signer.String()) + ", verified"
	case s.Author != "":
		return name(s.Author) + ", as stated"
	}
	return name(s.Document)
}

// ruleText names a rule and its place in the policy.
func ruleText(v *policy.Violation) string {
	where := "built in"
	if v.Position != (policy.Position{}) {
		where = name(v.Position.String())
	}
	if v.Scope != "" {
		where += ", for images " + name(v.Scope)
	}
	return name(v.Rule) + " (" + where + ")"
}

// kindName is the kind of an item for people.
func kindName(i *report.Item) string {
	if i.Kind == policy.KindSBOM {
		return "SBOM"
	}
	return cmp.Or(name(string(i.Kind)), "other")
}
