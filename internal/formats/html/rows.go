package html

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// builder builds the data of a page from a report.
type builder struct {
	data
	report    report.Report
	known     func(platform string, f *evidence.Finding) bool
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

// at returns the number of a text, and whether the text was added by this call.
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
	// The lists must be empty, not nil, because the script does not expect null.
	b.data = data{Platforms: []string{}, Layers: []dataLayer{}, Packages: []dataPackage{}, Rules: []string{}, Sources: []dataSource{}, Texts: []string{}, Remedies: []dataRemedy{}, Items: table{}}
	if r.Input.Baseline != nil {
		b.known = r.Input.Baseline.Lookup()
	}
	b.addLayers()
	return b
}

// newData returns the data with a row for each item, and for each finding that no rule matched.
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

// byUrgency orders items within a status. Causes that are not findings come first, then known
// exploited findings, then the others by severity, with unknown severity first, and by EPSS score.
func byUrgency(a, b report.Item) int {
	return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(urgency(&b), urgency(&a)), cmp.Compare(epss(&b), epss(&a)))
}

func urgency(i *report.Item) int {
	if i.Finding == nil {
		return 200
	}
	level := int(i.Finding.Severity)
	if i.Finding.Severity == evidence.SeverityUnknown {
		level = int(evidence.SeverityCritical) + 1
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

// addRemedies adds the remedies to the data, and records the remedy of each problem.
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

// problem returns a key that identifies a violation on one platform.
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
// or version, unless several rows share the fingerprint.
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

// addPackage sets the package, the layer and the places of a row.
func (b *builder) addPackage(row *dataItem, i *report.Item) {
	var found []evidence.Location
	if p := i.Subject(); p != nil {
		n, isNew := b.packages.at(packageKey(p))
		if isNew {
			b.Packages = append(b.Packages, dataPackage{Name: name(p.Name), Version: name(p.Version), Type: name(p.Type), PURL: name(p.PURL)})
		}
		row.Package, found = n, p.Found
	} else if i.Unknown != nil {
		found = []evidence.Location{i.Unknown.Location}
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

// origin returns whether the places are in the base image or in the image's own layers, and the
// index of the first layer. A package in both counts as own. If the base layers are unknown, origin
// is "".
func (b *builder) origin(platform string, found []evidence.Location) (origin string, layer int) {
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

// addFinding sets the fields that only the row of a finding has.
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

// addSource sets the source of a finding. Most advisory addresses end with the id of the finding,
// so only the part before the id is stored with the source. For any other address, the row gets the
// whole URL.
func (b *builder) addSource(row *dataItem, f *evidence.Finding) {
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
func isNew(i *report.Item, known func(string, *evidence.Finding) bool) bool {
	return len(i.Platforms) == 0 || slices.ContainsFunc(i.Platforms, func(p string) bool { return !known(p, i.Finding) })
}
