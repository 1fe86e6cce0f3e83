package suite

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
)

// standInDigest is the digest of an image or platform if a case does not set the digest.
var standInDigest = "sha256:" + strings.Repeat("0", 64)

// standInAdvisories is roughly the number of advisories that a full database has for a Debian
// release.
const standInAdvisories = 30_000

// evidence returns a reader of an Input at the time now. It fills in the parts that the case omits.
func (d *decoder) evidence(key, n *yaml.Node, now time.Time) *evidence.Input {
	r := evidenceReader{d, now}
	in := &evidence.Input{
		Image: evidence.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: standInDigest},
		Database: evidence.Database{Schema: "6", Built: now, Digest: standInDigest,
			Providers:  []evidence.Provider{{Name: "epss", Captured: now}, {Name: "kev", Captured: now}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: standInAdvisories}}},
	}
	r.value(reflect.ValueOf(in).Elem())(key, n)
	if in.Platforms == nil {
		in.Platforms = []evidence.Platform{r.platform()}
	}
	for i := range in.Platforms {
		if p := &in.Platforms[i]; p.Packages == nil {
			p.Packages = standInPackages(p.Findings)
		}
	}
	return in
}

// evidenceReader reads values of the types of evidence by their JSON names. It uses reflection,
// because with a reader for each type a new field could be forgotten.
type evidenceReader struct {
	*decoder
	now time.Time
}

func (r evidenceReader) platform() evidence.Platform {
	return evidence.Platform{
		Platform: "linux/amd64", Digest: standInDigest,
		Distribution: evidence.Distribution{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)"},
		Config:       r.config(),
		Size:         1 << 20,
	}
}

func (r evidenceReader) config() *evidence.ImageConfig {
	return &evidence.ImageConfig{User: "65532", Created: r.now}
}

// standInPackages returns the packages of a platform whose test case lists none: the packages of
// its findings, and one fixed package, so that the SBOM is not empty.
func standInPackages(findings []evidence.Finding) []evidence.Package {
	licenses := []string{"MIT"}
	packages := []evidence.Package{{Name: "stand-in", Version: "1", Type: "deb", PURL: "pkg:deb/debian/stand-in@1", Licenses: licenses}}
	for _, f := range findings {
		p := f.Package
		p.Licenses = licenses
		packages = append(packages, p)
	}
	return packages
}

func (r evidenceReader) value(v reflect.Value) strict.Reader {
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		return r.Date(to)
	case *evidence.Severity:
		return strict.Scalar(r.Decoder, to, "a severity", evidence.ParseSeverity, "!!str")
	case *evidence.FixState:
		return strict.Scalar(r.Decoder, to, "a fix state", func(s string) (f evidence.FixState, err error) {
			return f, f.UnmarshalJSON(strconv.AppendQuote(nil, s))
		}, "!!str")
	case *evidence.Platform:
		*to = r.platform()
	case *evidence.ImageConfig:
		*to = *r.config()
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return r.value(v.Elem())
	case reflect.Struct:
		return func(key, n *yaml.Node) { r.Mapping(n, strict.Quoted(key), r.fields(v)...) }
	case reflect.Slice:
		return r.slice(v)
	case reflect.Map:
		return r.texts(v)
	}
	return r.plain(v)
}

// fields returns the keys of a struct, including the keys of embedded structs.
func (r evidenceReader) fields(v reflect.Value) []strict.Field {
	var fields []strict.Field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fields = append(fields, r.fields(v.Field(i))...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, strict.Optional(name, func(key, n *yaml.Node) { r.value(v.Field(i))(key, n) }))
	}
	return fields
}

// slice returns a reader of a list. The reader sets the list even if it is empty, so that no
// default replaces an empty list.
func (r evidenceReader) slice(v reflect.Value) strict.Reader {
	return func(key, value *yaml.Node) {
		v.Set(reflect.MakeSlice(v.Type(), 0, len(value.Content)))
		r.List(strict.MaxItems, func(n *yaml.Node) {
			item := reflect.New(v.Type().Elem()).Elem()
			r.value(item)(key, n)
			v.Set(reflect.Append(v, item))
		})(key, value)
	}
}

// texts returns a reader of a mapping with texts as keys and values.
func (r evidenceReader) texts(v reflect.Value) strict.Reader {
	return func(key, value *yaml.Node) {
		v.Set(reflect.MakeMap(v.Type()))
		if value.Kind != yaml.MappingNode {
			r.WrongType(value, strict.Quoted(key), "a mapping")
			return
		}
		var fields []strict.Field
		for i := 0; i < len(value.Content); i += 2 {
			name := value.Content[i].Value
			fields = append(fields, strict.Optional(name, func(key, n *yaml.Node) {
				text := reflect.New(v.Type().Elem()).Elem()
				r.plain(text)(key, n)
				v.SetMapIndex(reflect.ValueOf(name), text)
			}))
		}
		r.Mapping(value, strict.Quoted(key), fields...)
	}
}

// plain returns a reader of a text, a number or a bool.
func (r evidenceReader) plain(v reflect.Value) strict.Reader {
	switch v.Kind() {
	case reflect.String: // any text is allowed: for example, an image may have any name
		return strict.Scalar(r.Decoder, pointer[string](v), "text", func(s string) (string, error) { return s, nil }, "!!str")
	case reflect.Bool:
		return r.truth(pointer[bool](v))
	case reflect.Int:
		return r.Count(pointer[int](v))
	case reflect.Int64:
		return strict.Scalar(r.Decoder, pointer[int64](v), "a whole number", func(s string) (int64, error) {
			n, err := strict.ParseCount(s)
			return int64(n), err
		}, "!!int")
	case reflect.Float64:
		return strict.Scalar(r.Decoder, pointer[float64](v), "a number", strict.ParseDecimal, "!!float", "!!int")
	}
	// A panic here is a bug in this package. Its tests would find it, because they write every
	// type.
	panic(fmt.Sprintf("evidence of type %s cannot be written in a suite", v.Type()))
}

// pointer returns a pointer to v as a *T, even if v has a named type.
func pointer[T any](v reflect.Value) *T {
	return v.Addr().Convert(reflect.TypeFor[*T]()).Interface().(*T)
}
