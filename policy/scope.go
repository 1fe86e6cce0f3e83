package policy

import (
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/internal/keys"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// Scope changes parts of the policy for some images. All scopes that match an image apply, in the
// order of the file:
//
//   - A rule in the scope replaces the policy's rule of the same name. Other rules of the scope are
//     added at the end. This applies to every list of named rules.
//   - In a mapping, such as sbom, the keys in the scope replace the keys of the policy.
//   - Exceptions in the scope are added. They apply only to images that the scope matches.
//
// An image pattern, in a scope and in an exception, is compared with the repository in canonical
// form:
//
//   - "*" matches any characters.
//   - The host is in lower case and without the ports 80 and 443.
//   - Every name of Docker Hub becomes docker.io, and every loopback address becomes localhost.
//   - A pattern without a registry means Docker Hub, as in an image reference: "team/*" is
//     docker.io/team/*, and "nginx" is docker.io/library/nginx.
//   - The name of an image outside a registry begins with its transport. Only a pattern with the
//     transport, such as "oci:*" or "docker-archive:builds/*", or the pattern "*" matches such an
//     image.
type Scope struct {
	Position Position `json:"position"`
	// Match lists image patterns. The scope applies to repositories that match at least one
	// pattern. A single pattern can be written without a list. Mandatory. Example: "match:
	// registry.example/legacy/*".
	Match []string `json:"match"`
	// Keys lists the keys that the scope sets, such as "rules" and "sbom.minPackages".
	Keys []string `json:"keys"`
	// Policy holds the values of these keys. Its other fields are not set.
	Policy Policy `json:"policy"`
}

// String returns the patterns, joined by ", ", as in Violation.Scope.
func (s *Scope) String() string { return strings.Join(s.Match, ", ") }

func (s *Scope) matches(n match.Image) bool {
	for _, pattern := range s.Match {
		if match.NewImagePattern(pattern).Match(n) {
			return true
		}
	}
	return false
}

func (d *decoder) scopes(to *[]Scope) strict.Reader {
	return d.List(maxScopes, func(n *yaml.Node) {
		s := Scope{Position: d.position(n), Policy: Policy{File: d.File}}
		fields := append([]strict.Field{strict.Mandatory("match", d.patterns(&s.Match))}, d.scopeFields(&s.Policy)...)
		d.Mapping(n, "a scope", fields...)
		s.Keys = spelledOut(n)
		if n.Kind == yaml.MappingNode && len(s.Keys) == 0 {
			d.Problem(n, "a scope without any section has no effect")
		}
		*to = append(*to, s)
	})
}

// patterns reads a single pattern or a list of patterns.
func (d *decoder) patterns(to *[]string) strict.Reader {
	list := d.Texts(to, func(string) error { return nil }, "nothing would match")
	return func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode {
			list(key, value)
			return
		}
		var pattern string
		d.Text(&pattern)(key, value)
		*to = []string{pattern}
	}
}

// spelledOut returns the keys that a scope sets. A key inside a mapping is written with the
// mapping's key, such as "sbom.minPackages".
func spelledOut(n *yaml.Node) []string {
	keys := []string{}
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		switch {
		case key == "match":
		default:
			keys = appendKeys(keys, key, value)
		}
	}
	return keys
}

// appendKeys appends a key, or the keys inside it if its value is a mapping.
func appendKeys(keys []string, key string, value *yaml.Node) []string {
	if value.Kind != yaml.MappingNode {
		return append(keys, key)
	}
	for j := 0; j+1 < len(value.Content); j += 2 {
		keys = appendKeys(keys, key+"."+value.Content[j].Value, value.Content[j+1])
	}
	return keys
}

// scoped is a policy after the scopes for one image were applied. It records which scope set which
// rule or key.
type scoped struct {
	*Policy
	at   map[Position]*Scope // the scope that set a rule or an exception, by its position
	keys map[string]override
	// matched reports whether some scope matches the image.
	matched bool
}

// override records that a scope set a key of a section: the position of the section in the policy,
// and the scope.
type override struct {
	instead Position // the position of the section in the policy itself
	by      *Scope
}

// forImage returns p with all scopes applied that match a repository.
func (p *Policy) forImage(repository string) scoped {
	s := scoped{Policy: p}
	n := match.NewImage(repository)
	for i := range p.Images {
		if scope := &p.Images[i]; scope.matches(n) {
			s.matched = true
			s.apply(scope)
		}
	}
	return s
}

// ForImage returns the policy for the images of a repository: the matching scopes are applied, and
// all scopes are removed.
func (p *Policy) ForImage(repository string) *Policy {
	s := p.forImage(repository)
	own := *s.Policy
	own.Images = nil
	if s.matched {
		own.UnmatchedImages = UnmatchedAllow
	}
	return &own
}

func (s *scoped) apply(scope *Scope) {
	if s.at == nil {
		p := *s.Policy
		s.Policy, s.at, s.keys = &p, make(map[Position]*Scope), make(map[string]override)
	}
	to, from := reflect.ValueOf(s.Policy).Elem(), reflect.ValueOf(&scope.Policy).Elem()
	for _, key := range scope.Keys {
		name, inner, nested := strings.Cut(key, ".")
		to, from := keys.Field(to, name), keys.Field(from, name)
		switch {
		case nested:
			o := override{instead: to.FieldByName("Position").Interface().(Position), by: scope}
			for _, changed := range setKey(to, from, inner) {
				s.keys[name+"."+changed] = o
			}
		case to.Kind() == reflect.Slice:
			to.Set(s.merge(scope, to, from))
		default:
			s.keys[key] = override{by: scope}
			to.Set(from)
		}
	}
}

// setKey copies the value of one key of a section from a scope's policy to another policy. key is
// the path of the key below the section, such as "minPackages" or "notCovered.version". setKey
// returns the paths of the changed keys, because a single effect for a group changes several keys.
func setKey(to, from reflect.Value, key string) []string {
	outer, inner, nested := strings.Cut(key, ".")
	to, from = keys.Field(to, outer), keys.Field(from, outer)
	switch {
	case nested:
		keys.Field(to, inner).Set(keys.Field(from, inner))
	case isEffectGroup(to.Type()):
		return setEffects(to, from, outer)
	default:
		to.Set(from)
	}
	return []string{key}
}

// merge returns a new list with the elements of to and from. An element of from with a name
// replaces the element of to with the same name.
func (s *scoped) merge(scope *Scope, to, from reflect.Value) reflect.Value {
	merged := reflect.AppendSlice(reflect.MakeSlice(to.Type(), 0, to.Len()+from.Len()), to)
	places := map[string]int{}
	for i := range merged.Len() {
		if name := merged.Index(i).FieldByName("Name"); name.IsValid() {
			places[name.String()] = i
		}
	}
	for i := range from.Len() {
		element := from.Index(i)
		if at := element.FieldByName("Position").Interface().(Position); at != (Position{}) {
			s.at[at] = scope
		}
		if name := element.FieldByName("Name"); name.IsValid() {
			if place, ok := places[name.String()]; ok {
				merged.Index(place).Set(element)
				continue
			}
		}
		merged = reflect.Append(merged, element)
	}
	return merged
}

// locate sets the scope of v, if a scope set the rule or the effect of v.
func (s *scoped) locate(v *Violation) {
	if scope, ok := s.at[v.Position]; ok {
		v.Scope = scope.String()
		return
	}
	// A named rule can have the same name as a key. Only its position shows that v is not about the
	// key.
	if o, ok := s.keys[v.effectKey()]; ok && o.instead == v.Position {
		v.Position, v.Scope = o.by.Position, o.by.String()
	}
}
