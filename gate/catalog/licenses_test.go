package catalog

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/licensecheck"
)

const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is
hereby granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN
AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
PERFORMANCE OF THIS SOFTWARE.`

func nothing() []byte { return nil }

// TestKnownLicenseTextNeedsNoPatterns checks that a text that an earlier run classified has the same
// licenses, and that the patterns are compiled only for another text.
func TestKnownLicenseTextNeedsNoPatterns(t *testing.T) {
	first := NewLicenseTexts(testCataloger.Patterns, nothing)
	want := first.scan([]byte(isc))
	if len(want.Match) == 0 || want.Match[0].ID != "ISC" {
		t.Fatalf("the text has the licenses %+v", want)
	}
	data, ok := first.Encode()
	if !ok {
		t.Fatal("there is nothing to keep")
	}
	patterns := &Patterns{}
	again := NewLicenseTexts(patterns, func() []byte { return data })
	if again.IsEmpty() {
		t.Error("no text is known")
	}
	if d := cmp.Diff(want, again.scan([]byte(isc))); d != "" {
		t.Error(d)
	}
	if _, ok := again.Encode(); ok {
		t.Error("known texts are stored again")
	}
	if patterns.licenses.scanner != nil {
		t.Error("the patterns were compiled for a known text")
	}
	again.scan([]byte("something else"))
	if patterns.licenses.scanner == nil {
		t.Error("the patterns were not compiled for a new text")
	}
}

// TestDamagedLicenseTextsAreForgotten checks that data that cannot be decoded counts as no data.
func TestDamagedLicenseTextsAreForgotten(t *testing.T) {
	texts := NewLicenseTexts(testCataloger.Patterns, func() []byte { return []byte("damaged") })
	if !texts.IsEmpty() || len(texts.scan([]byte(isc)).Match) == 0 {
		t.Error("the damaged data is used")
	}
}

// TestLicenseTextsAreBounded checks that the number of known texts has a limit.
func TestLicenseTextsAreBounded(t *testing.T) {
	texts := NewLicenseTexts(testCataloger.Patterns, nothing)
	for i := range maxTexts + 10 {
		texts.scan(fmt.Append(nil, i))
	}
	if n := len(texts.known); n > maxTexts {
		t.Errorf("%d texts are known", n)
	}
}

// TestScannerIsSyfts checks that syft's scanner has the fields that scannerConfig sets. The linker does
// not compare types.
func TestScannerIsSyfts(t *testing.T) {
	s, err := newScanner(&scannerConfig{coverage: 75, scan: func([]byte) licensecheck.Coverage { return licensecheck.Coverage{} }})
	if err != nil {
		t.Fatal(err)
	}
	of := reflect.TypeOf(s).Elem()
	if of.PkgPath() != "github.com/anchore/syft/internal/licenses" || of.NumField() != 2 || of.Field(0).Type.Kind() != reflect.Float64 ||
		of.Field(1).Type != reflect.TypeOf((func([]byte) licensecheck.Coverage)(nil)) {
		t.Errorf("syft's scanner is %v", of)
	}
	// The method is called through syft's own interface, as syft does.
	method := reflect.ValueOf(s).MethodByName("FindEvidence")
	out := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(strings.NewReader("text"))})
	if len(out) != 3 || string(out[1].Bytes()) != "text" || !out[2].IsNil() {
		t.Errorf("the scanner returns %v", out)
	}
}
