package html

import (
	"encoding/json"
	"reflect"

	"github.com/imagegate/imagegate/internal/report"
)

// data is the JSON that the script of the page reads: the items of the report, and the findings
// that no rule matched. Packages, layers, rules, platforms and descriptions are stored once. Items
// refer to them by index.
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

// table holds the rows of the findings list. In JSON it is one array for each field, which is half
// as long as an array of objects.
type table []*dataItem

// MarshalJSON writes an object with one array for each field of the rows, named by the field's JSON
// name.
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
	// Places are the paths of the package, for the items that do not have their own paths.
	Places []string `json:"places,omitempty"`
}

// dataSource is a data source of the vulnerability database.
type dataSource struct {
	Name string `json:"name"`
	// URL is the address of the source's advisories without the id at the end. It is empty if there
	// is none.
	URL string `json:"url,omitempty"`
}

// dataRemedy is a remedy. Paste means that Do is a command or a line for a file.
type dataRemedy struct {
	Do    string `json:"do"`
	Paste bool   `json:"paste"`
}

// noRule is the status of a finding that no rule matched. It follows the values of report.Status.
const noRule = int(report.NotAffected) + 1

// dataItem is one row of the findings list. A field without a value is empty in JSON. Package,
// Layer, Rule, Text, Remedy and Source are indexes into the lists of data, or -1 if there is none.
type dataItem struct {
	Key      string `json:"key"`    // identifies the row in links
	Status   int    `json:"status"` // a report.Status, or noRule
	Kind     string `json:"kind"`
	Severity int    `json:"severity"` // an evidence.Severity, or -1 if the item is not a finding
	// Title is the id of a finding, or the message of another item. Kind is the kind of an item
	// that is not a finding.
	Title   string   `json:"title"`
	Aliases []string `json:"aliases"`
	Package int      `json:"package"`
	Rule    int      `json:"rule"`
	// Fix is the fixed version, or a sentence if no version fixes the finding.
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
	// Source is an index. URL is set only if the address of the source and the id do not give the
	// address of the advisory.
	Source    int    `json:"source"`
	Blocks    string `json:"blocks"`
	Inherited bool   `json:"inherited"`
	// Novelty is "new" or "known", compared with the approved image. It is "" if no approved image
	// was compared.
	Novelty string `json:"novelty"`
	// Because describes the exception or the VEX statement that keeps the item from blocking. It is
	// empty if there is none.
	Because string `json:"because"`
	// Expired describes the expired exceptions that used to cover the item.
	Expired []string `json:"expired"`
}

// maxPlaces limits the paths that the page lists for one item.
const maxPlaces = 20
